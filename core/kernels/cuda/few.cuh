// A few rows (up to eight) times a weight (n, k): the time it takes is that of reading the weight once.
//
// A block of four warps has two or four rows of the weight. A lane reads eight neighbouring terms of each at a time, every
// 1024th; the lanes' sums are added in one order. It depends on k alone, so a result is the same for one row and for eight,
// and for a weight of few bits the same as for its widened numbers.
#pragma once
#include "after.cuh"
#include "reduce.cuh"

const int TERMS = 8, WARPS = 4;

// A weight of floating numbers; rows `apart` elements from one another.
template <class T> struct Rows {
  const T* at;
  int64 apart;
  template <class W> __device__ __forceinline__ void load(W (&to)[TERMS], int row, int k, int ks) const {
    const T* from = at + row * apart + k;
    const int COUNT = Pack<T>::COUNT;
    if (packs(from, 0) && k + TERMS <= ks) {
#pragma unroll
      for (int i = 0; i < TERMS; i += COUNT) {
        Pack<T> some = load_pack(from + i);
#pragma unroll
        for (int j = 0; j < COUNT; j++) to[i + j] = read(some.at[j]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < TERMS; i++) to[i] = k + i < ks ? (W)read(from[i]) : (W)0;
    }
  }
};

template <int M, class T, class Weight>
__device__ void few_rows(const T* x, Weight weight, T* y, int m, int n, int k, After<T> after) {
  typedef Wide<T> W;
  const int EACH = M <= 2 ? 2 : 4;  // weight rows that share what is read of x
  __shared__ W parts[WARPS][EACH * M];
  Rows<T> given = {x, k};
  int first = blockIdx.x * EACH, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  W sums[EACH][M];
#pragma unroll
  for (int r = 0; r < EACH; r++)
#pragma unroll
    for (int i = 0; i < M; i++) sums[r][i] = 0;
  for (int at = threadIdx.x * TERMS; at < k; at += 32 * WARPS * TERMS) {
    W numbers[EACH][TERMS];
#pragma unroll
    for (int r = 0; r < EACH; r++) weight.load(numbers[r], min(first + r, n - 1), at, k);
#pragma unroll
    for (int i = 0; i < M; i++) {
      W row[TERMS];
      given.load(row, min(i, m - 1), at, k);
#pragma unroll
      for (int r = 0; r < EACH; r++)
#pragma unroll
        for (int j = 0; j < TERMS; j++) sums[r][i] += numbers[r][j] * row[j];
    }
  }
#pragma unroll
  for (int r = 0; r < EACH; r++)
#pragma unroll
    for (int i = 0; i < M; i++) {
      W sum = warp_reduce(sums[r][i], Sum());
      if (lane == 0) parts[warp][r * M + i] = sum;
    }
  __syncthreads();
  int row = threadIdx.x % M, column = first + threadIdx.x / M;
  if (threadIdx.x >= EACH * M || row >= m || column >= n) return;
  W sum = 0;
#pragma unroll
  for (int w = 0; w < WARPS; w++) sum += parts[w][threadIdx.x / M * M + row];
  int64 place = (int64)row * n + column;
  y[place] = write<T>(after(sum, place, column));
}
