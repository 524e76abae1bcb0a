// What dropout leaves of numbers. The mask is never stored: element i is dropped where word i of the key is below the threshold.
#pragma once
#include "held.cuh"
#include "philox.cuh"

// The product as it is rounded, whatever is added to it: the compiler may not make one step of both.
__device__ __forceinline__ float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double rounded_product(double a, double b) { return __dmul_rn(a, b); }

// What elements `first` and those behind it become. The factor and the product are rounded to T, as the reference does.
template <class T> struct Dropping {
  uint32 k0, k1, below;
  Wide<T> factor;
  __device__ __forceinline__ Wide<T> left(Wide<T> v, uint32 word) const {
    return word >= below ? read(write<T>(rounded_product(v, factor))) : 0;
  }
  template <int K> __device__ __forceinline__ void apply(Some<Wide<T>, K>& v, int64 first) const {
    if constexpr (K % 4 == 0) {  // from an element that is a multiple of 4
#pragma unroll
      for (int k = 0; k < K; k += 4) {
        Words words = philox(k0, k1, (uint64)(first + k) >> 2);
#pragma unroll
        for (int j = 0; j < 4; j++) v.at[k + j] = left(v.at[k + j], words.at[j]);
      }
    } else {  // from a multiple of K, which is 1 or 2: all of one block of words
      Words words = philox(k0, k1, (uint64)first >> 2);
      bool later = first & 2;
#pragma unroll
      for (int k = 0; k < K; k++) {
        bool odd = (first + k) & 1;
        v.at[k] = left(v.at[k], later ? words.at[odd ? 3 : 2] : words.at[odd ? 1 : 0]);
      }
    }
  }
};
