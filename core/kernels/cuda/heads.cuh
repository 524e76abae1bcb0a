// What the kernels of attention share: tiles of queries, keys and values in shared memory, the two products of such tiles, and
// which scores count.
//
// 256 threads as 16 by 16; thread (ty, tx) has the SIDE rows from ty * SIDE on, so a row is the work of half a warp. Of a tile's
// weights it has the columns tx, tx + 16, ...; of its features groups of 16 bytes, 16 such apart. Rows are 16 bytes longer than
// they need be: eight neighbouring lanes then read 16 bytes each from different banks.
#pragma once
#include "held.cuh"
#include "philox.cuh"

const int THREADS = 256;

// Tiles for heads of up to D numbers: as large as four of them fit into shared memory.
template <class W, int D> struct Size {
  static const int SIDE = sizeof(W) * D <= 512 ? 4 : sizeof(W) * D <= 1024 ? 2 : 1, TILE = 16 * SIDE;
  static const int K = Pack<W>::COUNT, WIDTH = D + K, ALONG = TILE + K, ROWS = TILE * WIDTH, WEIGHTS = TILE * ALONG;
  static const int EACH = D / 16;  // features a thread has
  static __device__ __forceinline__ int row(int i) { return threadIdx.x / 16 * SIDE + i; }
  static __device__ __forceinline__ int column(int j) { return threadIdx.x % 16 + 16 * j; }
  static __device__ __forceinline__ int feature(int m) { return (m / K * 16 + threadIdx.x % 16) * K + m % K; }
};

// Rows of one head, in the strides of (batch, heads, rows, features); features lie side by side.
template <class T> struct Head {
  const T* at;
  int64 apart;
  int rows, width;
  __device__ __forceinline__ Head(const T* x, int64 by_batch, int64 by_head, int64 by_row, int b, int h, int count, int wide)
      : at(x + b * by_batch + h * by_head), apart(by_row), rows(count), width(wide) {}
};
#define HEADS(x) int64 x##_batch, int64 x##_head, int64 x##_row
#define HEAD(T, x, h, rows, width) Head<T>(x, x##_batch, x##_head, x##_row, b, h, rows, width)

template <class W> __device__ __forceinline__ bool finite(W v) { return v - v == 0; }

// The tile from row `first` on, zeros beyond its ends. Gives whether all that this thread has read is finite.
template <int D, class T> __device__ __forceinline__ bool load_tile(Wide<T>* to, const Head<T>& head, int first) {
  typedef Size<Wide<T>, D> S;
  const int COUNT = Pack<T>::COUNT;
  bool packed = packs(head.at, head.apart) && head.width % COUNT == 0, all = true;
  for (int p = threadIdx.x; p < S::TILE * (D / COUNT); p += THREADS) {
    int row = p / (D / COUNT), column = p % (D / COUNT) * COUNT;
    const T* from = head.at + (first + row) * head.apart + column;
    int room = first + row < head.rows ? head.width - column : 0;
    Wide<T>* place = to + row * S::WIDTH + column;
    if (packed && room > 0) {
      Pack<T> some = load_pack(from);
#pragma unroll
      for (int k = 0; k < COUNT; k++) place[k] = read(some.at[k]);
    } else {
#pragma unroll
      for (int k = 0; k < COUNT; k++) place[k] = k < room ? read(from[k]) : (Wide<T>)0;
    }
#pragma unroll
    for (int k = 0; k < COUNT; k++) all = all && finite(place[k]);
  }
  return all;
}

// s[i][j] = the product of row i of a and row j of b, over their features.
template <int D, class W>
__device__ __forceinline__ void multiply_rows(const W* a, const W* b, W (&s)[Size<W, D>::SIDE][Size<W, D>::SIDE]) {
  typedef Size<W, D> S;
#pragma unroll
  for (int i = 0; i < S::SIDE; i++)
#pragma unroll
    for (int j = 0; j < S::SIDE; j++) s[i][j] = 0;
#pragma unroll 4
  for (int d = 0; d < D; d += S::K) {
    Pack<W> x[S::SIDE], y[S::SIDE];
#pragma unroll
    for (int i = 0; i < S::SIDE; i++) {
      x[i] = load_pack(a + S::row(i) * S::WIDTH + d);
      y[i] = load_pack(b + S::column(i) * S::WIDTH + d);
    }
#pragma unroll
    for (int i = 0; i < S::SIDE; i++)
#pragma unroll
      for (int j = 0; j < S::SIDE; j++)
#pragma unroll
        for (int k = 0; k < S::K; k++) s[i][j] += x[i].at[k] * y[j].at[k];
  }
}

// sums[i] += the rows of v, as the weights say; where SEEN, a weight of 0 takes nothing, be the value infinite or not a number.
template <int D, bool SEEN, class W>
__device__ __forceinline__ void mix(const W* weights, const W* v, W (&sums)[Size<W, D>::SIDE][Size<W, D>::EACH]) {
  typedef Size<W, D> S;
#pragma unroll 2
  for (int j = 0; j < S::TILE; j++) {
    W p[S::SIDE];
#pragma unroll
    for (int i = 0; i < S::SIDE; i++) p[i] = weights[S::row(i) * S::ALONG + j];
#pragma unroll
    for (int m = 0; m < S::EACH; m += S::K) {
      Pack<W> some = load_pack(v + j * S::WIDTH + S::feature(m));
#pragma unroll
      for (int i = 0; i < S::SIDE; i++)
#pragma unroll
        for (int k = 0; k < S::K; k++)
          if (!SEEN || p[i] != 0) sums[i][m + k] += p[i] * some.at[k];
    }
  }
}

template <int D, class W> __device__ __forceinline__ void keep_weights(W* to, const W (&s)[Size<W, D>::SIDE][Size<W, D>::SIDE]) {
  typedef Size<W, D> S;
#pragma unroll
  for (int i = 0; i < S::SIDE; i++)
#pragma unroll
    for (int j = 0; j < S::SIDE; j++) to[S::row(i) * S::ALONG + S::column(j)] = s[i][j];
}

// Over the 16 threads of a row.
template <class W, class Op> __device__ __forceinline__ W row_reduce(W v, Op op) {
#pragma unroll
  for (int o = 8; o; o >>= 1) v = op(v, __shfl_xor_sync(0xffffffffu, v, o));
  return v;
}

// Which scores of a head count, what is added to them, and which weights are dropped.
template <class T> struct Scores {
  typedef Wide<T> W;
  W scale, factor;
  const bool* allowed;
  int64 allowed_row, allowed_key;
  const T* mask;
  int64 mask_row, mask_key, start;  // a query sees the keys up to start + its own number
  int64 first_word, keys;           // of dropout: the head's first, and words a query
  Drawn key;
  uint32 below;                     // nothing is dropped where it is 0
  __device__ __forceinline__ W operator()(W product, int64 i, int64 j) const {
    if (j >= keys || j > start + i || (allowed && !allowed[i * allowed_row + j * allowed_key])) return -INFINITY;
    W v = product * scale;
    return mask ? v + read(mask[i * mask_row + j * mask_key]) : v;
  }
  // what dropout multiplies a weight by
  __device__ __forceinline__ W kept(int64 i, int64 j) const {
    if (!below) return 1;
    uint64 word = first_word + i * keys + j;
    Words words = key.block(word >> 2);
    uint32 bits = word & 2 ? (word & 1 ? words.at[3] : words.at[2]) : (word & 1 ? words.at[1] : words.at[0]);
    return bits >= below ? factor : (W)0;
  }
  // how many keys the queries before number `end` see at most
  __device__ __forceinline__ int until(int64 end) const {
    int64 most = start + end;
    return most < 0 ? 0 : most < keys ? (int)most : (int)keys;
  }
};
#define SCORES(T)                                                                                                        \
  double scale, const bool *allowed, int64 allowed_batch, int64 allowed_head, int64 allowed_row, int64 allowed_key,      \
      const T *mask, int64 mask_batch, int64 mask_head, int64 mask_row, int64 mask_key, int64 start,                       \
      const uint32 *words, uint32 k0, uint32 k1, uint32 below, double factor
#define SCORES_OF(T, b, h)                                                                                               \
  Scores<T> {                                                                                                            \
    (Wide<T>)scale, read(write<T>((Wide<T>)factor)), allowed ? allowed + b * allowed_batch + h * allowed_head : allowed, \
        allowed_row, allowed_key, mask ? mask + b * mask_batch + h * mask_head : mask, mask_row, mask_key, start,        \
        ((int64)b * heads + h) * queries * keys, keys, Drawn(words, k0, k1), below                                       \
  }
