# dither: see README.md. `make help` lists what can be made.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test check simulate same-bits students results figure2 chaos figure1-check build build-gpu cuda test-gpu gpu-kit gpu precision-check proto proto-baseline bench bench-cluster bench-ols bench-go clean

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# Where the demo writes; the time keeps runs apart.
DEMO_OUT ?= runs/demo-$(shell date +%Y%m%d-%H%M%S)
DEMO_FLAGS ?=
# Of the script for a GPU: SHARED holds golden vectors, weights and peers; GPU_FLAGS go to it (--quick, --only bench, ...).
SHARED ?= ../shared
GPU_FLAGS ?=
# What `make bench-go` times.
BENCH ?= .
# The folder that holds cifar-10-batches-bin, and a trained ResNet-20: for same-bits and students.
DATA ?= data
TEACHER ?= resnet20.th
SEEDS ?= 3
# For how many seeds `make figure1-check` draws samples.
FIGURE1_SEEDS ?= 5
# How many schedules of faults `make simulate` plays, and from which seed on.
SCHEDULES ?= 10000
FIRST ?= 1
# Figure 2 in full, as in A.2 of the paper; each of these makes it smaller, and FLAGS goes to dither sweep (--dry-run, --part 1/4, --init teacher, ...).
DATASET ?= cifar10
MODEL ?= resnet56
EPOCHS ?= 200
# The paper's 0.1 is for kd=0.9,ce=0.1; the quadratic loss diverges there (docs/studies.md, "What trains").
LOSS ?= quadratic
LR ?= 0.02
FLAGS ?=
# What `make chaos` plays.
SCHEDULES ?= 100
SEED ?= 1

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

demo: ## build, then train a teacher and a student on hand-written digits: two trainers, one machine
	@began=$$SECONDS; $(MAKE) --no-print-directory build; echo "built bin/dither in $$((SECONDS - began)) s"
	bin/dither run --dataset digits --model resnet8 --batch 32 --epochs 5 --lr 0.02 --augment none --teacher train --noise gaussian:sigma2=1 --trainers 2 --out $(DEMO_OUT) $(DEMO_FLAGS)

test: ## run every test, and those of the arithmetic in plain Go alone and as built for newer processors
	go test -timeout 10m ./...
	go test -timeout 10m -tags purego ./trainer/kernel/cpu/...
	! grep -q -w avx2 /proc/cpuinfo 2>/dev/null || GOAMD64=v3 go test -timeout 10m ./trainer/kernel/cpu/... ./trainer/program ./noise/elementary

check: ## check formatting, vet, staticcheck, the wire, generated code, modules and import arrows
	@.ci/check

simulate: ## play whole runs in virtual time under faults by seed (SCHEDULES=10000 FIRST=1)
	go test -timeout 0 -v -run TestSchedules ./cmd/dither/simulation -schedules $(SCHEDULES) -first $(FIRST)

same-bits: ## execute one spec in many ways on CIFAR-10 and compare the sha256s (DATA=folder TEACHER=file)
	.ci/same-bits '$(DATA)' '$(TEACHER)'

chaos: build ## take runs through 100 schedules of faults, and compare their bits with a quiet run's (SCHEDULES=100 SEED=1)
	bin/dither chaos --schedules $(SCHEDULES) --seed $(SEED)

students: ## train the students that are held beside PyTorch's (DATA=folder TEACHER=file SEEDS=3)
	.ci/students '$(DATA)' '$(TEACHER)' '$(SEEDS)'

figure1-check: ## hold every panel of Figure 1 to its exact theory, for many draws of the samples (FIGURE1_SEEDS=5)
	go test -timeout 0 -count 1 -v -run TestFigure1AgainstTheory ./trainer/ols -figure1-seeds '$(FIGURE1_SEEDS)'

results: build ## run the studies of docs/results again, and copy their tables and figures there (DATA=folder TEACHER=file)
	.ci/results '$(DATA)' '$(TEACHER)'

figure2: TEACHER = train
figure2: build ## the paper's Figures 2 and 3 in full; says what it costs first, and goes on where it was (DATASET=cifar10 DATA=folder TEACHER=file EPOCHS=200 MODEL=resnet56 SEEDS=3 LOSS=quadratic LR=0.02 FLAGS=--dry-run)
	bin/dither sweep --design scales --dataset $(DATASET) --data '$(DATA)' --model $(MODEL) --teacher '$(TEACHER)' --seeds '$(SEEDS)' --epochs $(EPOCHS) --batch 64 --loss $(LOSS) --lr $(LR) --milestones 1/2,3/4 \
	  --momentum 0.9 --weight-decay 1e-4 --validation 0.2 --gradient-norm 1000 --eval-every $(if $(filter-out 1 2 3 4 5 6 7 8 9,$(EPOCHS)),10,1) --out 'runs/figure2-$(DATASET)-$(MODEL)-$(EPOCHS)-$(LOSS)' $(FLAGS)

build: ## build bin/dither, static
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/dither ./cmd/dither

build-gpu: build ## build bin/dither-gpu beside it, which bin/dither starts for --kernels cuda (docs/gpu.md)
	.ci/cuda headers
	CGO_ENABLED=1 CGO_CFLAGS="-I$$PWD/.ci/bin/cuda/include" CGO_LDFLAGS="-L$$PWD/.ci/bin/cuda/stub" \
	  go build -tags gpu -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/dither-gpu ./cmd/dither

cuda: ## compile the CUDA kernels into trainer/kernel/cuda/kernels.fatbin, with nvcc from PyPI
	.ci/cuda kernels

test-gpu: ## run the CUDA kernels' suite and a small run, on a GPU if there is one, else on a driver made of software
	.ci/test-gpu

precision-check: ## train in bf16 and in fp32, by several seeds, and hold the curves of the one to the seeds' spread of the other (DATASET=digits MODEL=resnet8 EPOCHS=8 SEEDS=4 and more: .ci/precision)
	.ci/precision
gpu-kit: ## build bin/kit.tar.xz: all that is tried and timed on a machine with a GPU, which needs no Go (docs/gpu.md; SHARED=folder)
	SHARED='$(SHARED)' .ci/gpu kit

gpu: ## the same, and run it here: suite, golden vectors, same bits, benches beside PyTorch, a long run (SHARED=folder DATA=folder GPU_FLAGS=--quick)
	SHARED='$(SHARED)' DATA='$(if $(wildcard $(DATA)),$(abspath $(DATA)))' .ci/gpu $(GPU_FLAGS)

proto: ## generate the Go code of proto/
	.ci/tool buf && .ci/tool protoc-gen-go && .ci/tool protoc-gen-go-grpc
	PATH="$$PWD/.ci/bin:$$PATH" buf generate

proto-baseline: ## take today's proto/ as what later changes must stay compatible with
	.ci/tool buf
	.ci/bin/buf build --exclude-source-info -o proto/baseline.binpb

bench: ## time dither, and PyTorch in turn (PEERS=folder PYTHON=exe), and write docs/benchmarks.md; SET=short PAIRS=2 tries it
	.ci/bench

bench-cluster: ## time what trainers do together, and gloo and DDP in turn (DATA=folder PEERS=folder PYTHON=exe)
	.ci/bench-cluster '$(DATA)' '$(PEERS)'

bench-ols: build ## time Figure 1, whole process, and NumPy in turn (PEERS=folder PYTHON=exe PAIRS=5)
	.ci/bench-ols '$(PEERS)'

bench-go: ## run the Go benchmarks (BENCH=regexp chooses some)
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

clean: ## remove what was built (runs/ and the tools stay)
	rm -rf bin
