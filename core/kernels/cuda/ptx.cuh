// The GPU's instructions that C++ has no word for. On the CPU the shim has functions of the same names.
#pragma once
#include "common.cuh"
#ifndef CUDA_ON_CPU
// D (16x8, float) += A (16x16) B (16x8), by a warp; fragments as PTX lays them out.
#define MMA(name, kind)                                                                                             \
  __device__ __forceinline__ void mma_m16n8k16_##name(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." kind "." kind ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                   \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                               \
  }
MMA(bf16, "bf16")
MMA(f16, "f16")
#undef MMA
// Four matrices of 8 x 8 half numbers from shared memory, by a warp: lane l names row l % 8 of matrix l / 8, and gets of each
// matrix two neighbours, 2 * (l % 4) of row l / 4; `turned`, of the matrix read by columns.
#define LOAD(name, how)                                                                                \
  __device__ __forceinline__ void name(unsigned (&d)[4], const void* row) {                            \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4" how ".shared.b16 {%0,%1,%2,%3}, [%4];"                \
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])                                      \
                 : "r"((unsigned)__cvta_generic_to_shared(row))                                        \
                 : "memory");                                                                          \
  }
LOAD(load_matrices, "")
LOAD(load_matrices_turned, ".trans")
#undef LOAD
#endif
__device__ __forceinline__ void tensor_product(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], __half) {
  mma_m16n8k16_f16(d, a, b);
}
__device__ __forceinline__ void tensor_product(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], __nv_bfloat16) {
  mma_m16n8k16_bf16(d, a, b);
}
