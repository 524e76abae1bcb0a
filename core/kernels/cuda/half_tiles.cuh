// Tiles of half precision for attention on tensor cores: rows of D numbers in shared memory, 16 bytes longer than they need be, so
// that the eight rows of a matrix begin in different banks. A warp has 16 rows of a product and all its columns, in registers: thread
// (g, t) = (lane / 4, lane % 4) has of rows g and g + 8 the columns 2 t and 2 t + 1 of each 8, [columns / 8][row g, row g + 8].
#pragma once
#include "heads.cuh"
#include "ptx.cuh"

const int CREW = 128;

// ROWS rows from number `first` on, zeros beyond their ends. Gives whether what this thread has read is finite, if that is asked for.
template <int D, int ROWS, bool LOOK, class T> __device__ __forceinline__ bool load_rows(T* to, const Head<T>& head, int first) {
  const int COUNT = Pack<T>::COUNT;
  bool packed = packs(head.at, head.apart) && head.width % COUNT == 0, all = true;
  for (int p = threadIdx.x; p < ROWS * (D / COUNT); p += CREW) {
    int row = p / (D / COUNT), column = p % (D / COUNT) * COUNT;
    const T* from = head.at + (first + row) * head.apart + column;
    int room = first + row < head.rows ? head.width - column : 0;
    Pack<T> some;
    if (packed && room > 0) {
      some = load_pack(from);
    } else {
#pragma unroll
      for (int k = 0; k < COUNT; k++) some.at[k] = k < room ? from[k] : write<T>(0.f);
    }
    if (LOOK) {
#pragma unroll
      for (int k = 0; k < COUNT; k++) all = all && finite(read(some.at[k]));
    }
    store_pack(to + row * (D + 8) + column, some);
  }
  return all;
}

template <class T> __device__ __forceinline__ unsigned pair(float a, float b) {
  Some<T, 2> two = {{write<T>(a), write<T>(b)}};
  return *reinterpret_cast<unsigned*>(&two);
}

// Two numbers, 0 for those that are infinite or none: all bits of their exponents are set.
__device__ __forceinline__ unsigned bits_of_exponent(__half) { return 0x7c00u; }
__device__ __forceinline__ unsigned bits_of_exponent(__nv_bfloat16) { return 0x7f80u; }
template <class T> __device__ __forceinline__ unsigned finite_ones(unsigned two) {
  unsigned bits = bits_of_exponent(T());
  return ((two & bits) == bits ? 0 : two & 0xffffu) | ((two >> 16 & bits) == bits ? 0 : two & 0xffff0000u);
}

// Over the four threads of a row.
template <class Op> __device__ __forceinline__ float quad_reduce(float v, Op op) {
  v = op(v, __shfl_xor_sync(0xffffffffu, v, 1));
  return op(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

template <int N> __device__ __forceinline__ void clear(float (&sums)[N][4]) {
#pragma unroll
  for (int j = 0; j < N; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) sums[j][e] = 0;
}

// s = 16 rows, the warp's, times 8 N others, over their D numbers.
template <int D, int N, class T> __device__ __forceinline__ void multiply_tiles(const T* rows, const T* others, float (&s)[N][4]) {
  int lane = threadIdx.x % 32;
  rows += lane % 16 * (D + 8) + lane / 16 * 8;
  others += (lane / 16 * 8 + lane % 8) * (D + 8) + lane / 8 % 2 * 8;
  clear(s);
#pragma unroll 4
  for (int d = 0; d < D; d += 16) {
    unsigned a[4], b[4];
    load_matrices(a, rows + d);
#pragma unroll
    for (int j = 0; j < N; j += 2) {
      load_matrices(b, others + j * 8 * (D + 8) + d);
      unsigned low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
      tensor_product(s[j], a, low, T());
      tensor_product(s[j + 1], a, high, T());
    }
  }
}

// mixed += the warp's weights (16 x 8 N, rounded to T) times 8 N rows, of which 8 M numbers are taken; where CLEAN, those of them
// that are not finite count as 0.
template <int D, bool CLEAN, int N, int M, class T>
__device__ __forceinline__ void mix_tiles(const float (&weights)[N][4], const T* rows, float (&mixed)[M][4]) {
  int lane = threadIdx.x % 32;
  rows += lane % 16 * (D + 8) + lane / 16 * 8;
#pragma unroll
  for (int j = 0; j < N; j += 2) {
    unsigned b[4], a[4] = {pair<T>(weights[j][0], weights[j][1]), pair<T>(weights[j][2], weights[j][3]),
                           pair<T>(weights[j + 1][0], weights[j + 1][1]), pair<T>(weights[j + 1][2], weights[j + 1][3])};
#pragma unroll
    for (int m = 0; m < M; m += 2) {
      load_matrices_turned(b, rows + j * 8 * (D + 8) + m * 8);
      if (CLEAN) {
#pragma unroll
        for (int i = 0; i < 4; i++) b[i] = finite_ones<T>(b[i]);
      }
      unsigned low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
      tensor_product(mixed[m], a, low, T());
      tensor_product(mixed[m + 1], a, high, T());
    }
  }
}

// What this thread has of row g (h = 0) or g + 8 to memory: 8 M numbers times `by`, of which the first `width` are there.
template <int M, class T> __device__ __forceinline__ void write_row(const float (&sums)[M][4], int h, float by, T* to, int width) {
#pragma unroll
  for (int m = 0; m < M; m++) {
    int at = m * 8 + threadIdx.x % 4 * 2;
    unsigned two = pair<T>(sums[m][2 * h] * by, sums[m][2 * h + 1] * by);
    const T* ends = reinterpret_cast<const T*>(&two);
    if (width % 2 == 0 && at < width && reinterpret_cast<uint64>(to) % 4 == 0) {
      *reinterpret_cast<unsigned*>(to + at) = two;
    } else {
      if (at < width) to[at] = ends[0];
      if (at + 1 < width) to[at + 1] = ends[1];
    }
  }
}
