// What dropout leaves of numbers: the mask is never stored, element i is dropped where word i of the key is below the threshold.
#pragma once
#include "held.cuh"
#include "philox.cuh"

// The product as it is rounded, whatever is added to it: the compiler may not make one step of both.
__device__ __forceinline__ float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double rounded_product(double a, double b) { return __dmul_rn(a, b); }

// What K elements from place `first` on become, a multiple of K. The factor and the product are rounded to T, as the reference does.
template <class T> struct Dropping {
  Drawn key;
  uint32 below;
  Wide<T> factor;
  __device__ __forceinline__ Dropping(Drawn key, uint32 below, double factor)
      : key(key), below(below), factor(read(write<T>((Wide<T>)factor))) {}
  static __device__ __forceinline__ uint32 chosen(const Words& words, int place) {
    return place < 2 ? (place ? words.at[1] : words.at[0]) : (place == 2 ? words.at[2] : words.at[3]);
  }
  template <int K> __device__ __forceinline__ void apply(Some<Wide<T>, K>& v, int64 first) const {
#pragma unroll
    for (int k = 0; k < K; k += 4) {
      Words words = key.block((uint64)(first + k) >> 2);
#pragma unroll
      for (int j = 0; j < 4 && j < K; j++) {
        uint32 word = K >= 4 ? words.at[j] : chosen(words, (int)(first % 4) + j);
        v.at[k + j] = word >= below ? read(write<T>(rounded_product(v.at[k + j], factor))) : 0;
      }
    }
  }
};
