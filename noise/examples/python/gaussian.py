#!/usr/bin/env python3
"""Gaussian label noise as a noise service: one file, nothing but grpcio and grpcio-tools.

It draws as dither's built-in noise does (docs/random.md), so a run with `--noise service:HOST:PORT` behaves as one with
`--noise gaussian:sigma2=...`. math.log and math.cos stand for dither's own polynomials: a noisy logit may differ from the
built-in's in its last float32 bit, never in more. To make a noise of your own, change `perturb` and what Describe promises.
"""

import argparse
import concurrent.futures
import math
import os
import struct
import sys

import grpc

MASK = 0xFFFFFFFF
GAUSSIAN = 4  # the purpose: the last word of the counter
F32 = 1  # dither.v1.ElementType.ELEMENT_TYPE_F32


def philox(key, counter):
    """Philox4x32-10: four 32-bit words for two words of key and four of counter."""
    k0, k1 = key
    c0, c1, c2, c3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def normals(words):
    """Four standard normal numbers from four words (Box and Muller)."""
    out = []
    for w, v in (words[:2], words[2:]):
        r = math.sqrt(-2 * math.log((w + 0.5) / 2**32))
        angle = 2 * math.pi * v / 2**32
        out += [r * math.cos(angle), r * math.sin(angle)]
    return out


def perturb(sd, seed, iteration, sample, logits):
    """The noisy logits of one sample: class l takes lane l%4 of block l//4 of (seed, GAUSSIAN, iteration, sample)."""
    key = seed & MASK, seed >> 32
    noisy = []
    for block in range((len(logits) + 3) // 4):
        z = normals(philox(key, (block, sample, iteration, GAUSSIAN)))
        noisy += [y + sd * x for y, x in zip(logits[4 * block : 4 * block + 4], z)]
    return noisy


class Refused(Exception):
    """A request that cannot be answered; the text says why."""


def unpack(request):
    """The logits of a request as rows of floats."""
    logits, n = request.logits, len(request.samples)
    shape = list(logits.shape)
    if logits.dtype != F32 or len(shape) != 2 or shape[0] != n or shape[1] < 1:
        raise Refused(f"logits of type {logits.dtype} and shape {shape}, want F32 [{n}][classes]")
    classes = shape[1]
    if len(logits.data) != 4 * n * classes:
        raise Refused(f"{len(logits.data)} bytes of logits for the shape {shape}")
    flat = struct.unpack(f"<{n * classes}f", logits.data)
    if not all(map(math.isfinite, flat)):
        raise Refused("a logit is not finite")
    return [flat[i * classes : (i + 1) * classes] for i in range(n)]


def sigma2_of(parameters, standard):
    """The variance that a request asks for, in logits squared."""
    if set(parameters) - {"sigma2"}:
        raise Refused(f"unknown parameters {sorted(set(parameters) - {'sigma2'})}: this noise takes sigma2")
    sigma2 = parameters.get("sigma2", standard)
    if not 0 <= sigma2 <= 1e75:
        raise Refused(f"sigma2 is {sigma2}: a variance is 0 or more")
    return sigma2


def service(messages, stubs, sigma2):
    """The NoiseService with a variance of sigma2 unless a request asks for another."""

    class Gaussian(stubs.NoiseServiceServicer):
        def Describe(self, request, context):
            try:
                variance = sigma2_of(dict(request.parameters), sigma2)
            except Refused as why:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(why))
            return messages.DescribeResponse(
                name="gaussian", parameters={"sigma2": variance}, replayable=True, unbiased=True, variance=variance
            )

        def Perturb(self, request, context):
            try:
                sd = math.sqrt(sigma2_of(dict(request.parameters), sigma2))
                rows = unpack(request)
                noisy = []
                for sample, row in zip(request.samples, rows):
                    noisy += perturb(sd, request.seed, request.iteration, sample, row)
                data = struct.pack(f"<{len(noisy)}f", *noisy)
            except OverflowError:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a noisy logit leaves float32: take a smaller sigma2")
            except Refused as why:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(why))
            response = messages.PerturbResponse()
            response.logits.dtype = F32
            response.logits.shape.extend(request.logits.shape)
            response.logits.data = data
            return response

    return Gaussian()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description="Gaussian label noise for dither, over gRPC.")
    parser.add_argument("--address", default="127.0.0.1:9000", help="HOST:PORT to listen at; port 0 takes a free one (default %(default)s)")
    parser.add_argument("--sigma2", type=float, default=1.0, help="variance, in logits squared (default %(default)s)")
    parser.add_argument("--proto", default=os.path.join(here, "..", "..", "..", "proto"), help="folder that holds dither/v1/noise.proto")
    options = parser.parse_args()
    try:
        sigma2_of({}, options.sigma2)
    except Refused as why:
        parser.error(str(why))

    sys.path.insert(0, os.path.abspath(options.proto))  # where grpcio-tools looks for .proto files
    messages, stubs = grpc.protos_and_services("dither/v1/noise.proto")
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(max_workers=8),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    stubs.add_NoiseServiceServicer_to_server(service(messages, stubs, options.sigma2), server)
    port = server.add_insecure_port(options.address)
    server.start()
    print(f"listening on {options.address.rsplit(':', 1)[0]}:{port}", flush=True)
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        server.stop(grace=1)


if __name__ == "__main__":
    main()
