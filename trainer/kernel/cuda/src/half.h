// What kernels of the arithmetic cuda-bf16/1 share. An activation of half precision lies as [images][ceil(C/16)][H][W][16] of bfloat16: a pixel has 16 channels in 32 bytes. Products are of bfloat16 numbers, sums are float32;
// a number is rounded where it is stored, and nowhere else.
#pragma once

#include "order.h"
#include "tensor.h"

// Channels of a block of an activation.
enum { CHANNELS = 16 };
