// Random bits by Philox4x32-10, as ../reference/random.py has them: words 4 i to 4 i + 3 of a key are those of block i.
#pragma once
#include "common.cuh"

struct Words {
  uint32 at[4];
};

__device__ __forceinline__ Words philox(uint32 k0, uint32 k1, uint64 block) {
  uint32 c0 = (uint32)block, c1 = (uint32)(block >> 32), c2 = 0, c3 = 0;
#pragma unroll
  for (int round = 0; round < 10; round++) {
    uint64 p0 = (uint64)c0 * 0xD2511F53u, p1 = (uint64)c2 * 0xCD9E8D57u;
    c0 = (uint32)(p1 >> 32) ^ c1 ^ k0;
    c1 = (uint32)p1;
    c2 = (uint32)(p0 >> 32) ^ c3 ^ k1;
    c3 = (uint32)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// A key as launches give it: by value, or where a captured graph finds the words of this launch.
struct Drawn {
  uint32 k0, k1;
  __device__ __forceinline__ Drawn(const uint32* held, uint32 k0, uint32 k1) : k0(held ? held[0] : k0), k1(held ? held[1] : k1) {}
  __device__ __forceinline__ Words block(uint64 number) const { return philox(k0, k1, number); }
};
