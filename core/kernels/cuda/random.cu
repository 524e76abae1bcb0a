// Random numbers of a key, written once: the words themselves, uniform and normal numbers.
#include "held.cuh"
#include "philox.cuh"

extern "C" __global__ void philox_words(uint32* out, int64 count, const uint32* held, uint32 k0, uint32 k1) {
  int64 block = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (4 * block >= count) return;
  Words words = Drawn(held, k0, k1).block(block);
  if (4 * block + 4 <= count && packs(out, 4)) {
    Some<uint32, 4> all = {{words.at[0], words.at[1], words.at[2], words.at[3]}};
    *reinterpret_cast<Some<uint32, 4>*>(out + 4 * block) = all;
    return;
  }
  for (int j = 0; j < 4 && 4 * block + j < count; j++) out[4 * block + j] = words.at[j];
}
