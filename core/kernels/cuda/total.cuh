// What a softmax is over, found in one pass.
#pragma once
#include "held.cuh"

// The greatest of some numbers, and the sum of exp(number - greatest): what a softmax is over.
template <class W> struct Total {
  W most = -INFINITY, sum = 0;
  __device__ __forceinline__ void add(W v) {
    if (v > most || v != v) {
      sum = (most == (W)-INFINITY ? 0 : sum * exponential(most - v)) + exponential(v - v);
      most = v;
    } else if (v != (W)-INFINITY) {
      sum += exponential(v - most);
    }
  }
  // K numbers at once: the sum is scaled once for all of them
  template <int K> __device__ __forceinline__ void add(const Some<W, K>& v) {
    W top = v.at[0];
#pragma unroll
    for (int k = 1; k < K; k++) top = greater(top, v.at[k]);
    if (top > most || top != top) {
      sum = scaled_to(top);
      most = top;
    }
    if (most == (W)-INFINITY) return;
#pragma unroll
    for (int k = 0; k < K; k++) sum += exponential(v.at[k] - most);
  }
  __device__ __forceinline__ W scaled_to(W top) const { return most == (W)-INFINITY ? 0 : sum * exponential(most - top); }
  // NaN where every number was -inf, as 0 / 0 is
  __device__ __forceinline__ W softmax(W v) const { return exponential(v - most) / sum; }
  __device__ __forceinline__ W log_softmax(W v) const { return v - most - logarithm(sum); }
};
