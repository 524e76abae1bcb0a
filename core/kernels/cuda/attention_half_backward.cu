// The gradients of attention of half precision on tensor cores, in the two passes of attention_backward.cu: one block for each 64
// queries, then one for each 64 keys. Weights and slopes are rounded to half precision where they are multiplied with, sums are float.
#include "half_tiles.cuh"

const int ROWS = 64, AMONG = 32, COLUMNS = AMONG / 8;  // a block's own rows, and those it goes through at a time

// exp(score - largest) / total, and 0 where that is of nothing.
__device__ __forceinline__ float weight_of(float score, float largest, float total) {
  return total == 0 || score == -INFINITY ? 0 : exponential(score - largest) / total;
}

template <int D, class T>
__device__ void queries_gradient(Head<T> g, Head<T> q, Head<T> k, Head<T> v, Head<T> out, const Scores<T>& scores, int first,
                                 const float* largest, const float* total, float* along, T* to, int64 apart) {
  DYN_SHARED(T, memory);
  const int WIDTH = D + 8;
  T *queries = memory, *slopes = queries + ROWS * WIDTH, *keys = slopes + ROWS * WIDTH, *values = keys + AMONG * WIDTH;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32 * 16, own = first + warp + lane / 4;
  load_rows<D, ROWS, false>(queries, q, first);
  load_rows<D, ROWS, false>(slopes, g, first);
  __syncthreads();
  float mean[2], most[2], all[2], sums[D / 8][4];  // mean: of each query's slopes, as its weights say
  clear(sums);
#pragma unroll
  for (int h = 0; h < 2; h++) {
    int row = own + 8 * h;
    bool there = row < q.rows;
    mean[h] = 0, most[h] = there ? largest[row] : 0, all[h] = there ? total[row] : 0;
    if (there)
      for (int m = lane % 4; m < v.width; m += 4)
        mean[h] += read(slopes[(row - first) * WIDTH + m]) * read(out.at[row * out.apart + m]);
    mean[h] = quad_reduce(mean[h], Sum());
    if (there && lane % 4 == 0) along[row] = mean[h];
  }
  int until = scores.until(min(first + ROWS, q.rows));
  for (int key = 0; key < until; key += AMONG) {
    __syncthreads();  // the tiles before are read
    load_rows<D, AMONG, false>(keys, k, key);
    load_rows<D, AMONG, false>(values, v, key);
    __syncthreads();
    float s[COLUMNS][4], d[COLUMNS][4];
    multiply_tiles<D>(queries + warp * WIDTH, keys, s);
    multiply_tiles<D>(slopes + warp * WIDTH, values, d);
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        int h = e / 2, row = own + 8 * h, column = key + j * 8 + lane % 4 * 2 + e % 2;
        float p = row < q.rows ? weight_of(scores(s[j][e], row, column), most[h], all[h]) : 0;
        s[j][e] = p == 0 ? 0 : p * (d[j][e] * scores.kept(row, column) - mean[h]);
      }
    mix_tiles<D, false>(s, keys, sums);
  }
#pragma unroll
  for (int h = 0; h < 2; h++)
    if (own + 8 * h < q.rows) write_row(sums, h, scores.scale, to + (own + 8 * h) * apart, q.width);
}

// Heads of up to D numbers whose gradients of keys and values fit into the registers of so many warps side by side.
template <int D> struct Shares {
  static const int WARPS = D > 128 ? 2 : 1, KEYS = ROWS / WARPS, EACH = D / 8 / WARPS;
};

// What a head of queries adds to the gradients of a warp's 16 keys and values, of these `part` and so many numbers behind it.
template <int D, class T>
__device__ __forceinline__ void add_keys_gradient(Head<T> g, Head<T> q, const Scores<T>& scores, int first, const float* largest,
                                                  const float* total, const float* along, T* memory, float (&of_keys)[Shares<D>::EACH][4],
                                                  float (&of_values)[Shares<D>::EACH][4]) {
  const int WIDTH = D + 8, KEYS = Shares<D>::KEYS;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32 / Shares<D>::WARPS * 16, part = threadIdx.x / 32 % Shares<D>::WARPS * Shares<D>::EACH * 8;
  T *keys = memory, *values = keys + KEYS * WIDTH, *queries = values + KEYS * WIDTH, *slopes = queries + AMONG * WIDTH;
  int64 begin = first - scores.start;  // queries before it see none of these keys
  for (int query = begin < 0 ? 0 : begin / AMONG * AMONG; query < q.rows; query += AMONG) {
    __syncthreads();  // the tiles before are read
    load_rows<D, AMONG, false>(queries, q, query);
    load_rows<D, AMONG, false>(slopes, g, query);
    __syncthreads();
    float s[COLUMNS][4], d[COLUMNS][4];
    multiply_tiles<D>(keys + warp * WIDTH, queries, s);
    multiply_tiles<D>(values + warp * WIDTH, slopes, d);
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        int key = first + warp + lane / 4 + e / 2 * 8, row = query + j * 8 + lane % 4 * 2 + e % 2;
        bool there = row < q.rows;
        float p = there ? weight_of(scores(s[j][e], row, key), largest[row], total[row]) : 0, kept = scores.kept(row, key);
        s[j][e] = p * kept;
        d[j][e] = p == 0 ? 0 : p * (d[j][e] * kept - along[row]);
      }
    mix_tiles<D, false>(s, slopes + part, of_values);
    mix_tiles<D, false>(d, queries + part, of_keys);
  }
}

template <int D, class T>
__device__ __forceinline__ void write_keys(const float (&sums)[Shares<D>::EACH][4], float by, T* to, int64 apart, int first, int rows, int width) {
  int part = threadIdx.x / 32 % Shares<D>::WARPS * Shares<D>::EACH * 8;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    int row = first + threadIdx.x / 32 / Shares<D>::WARPS * 16 + threadIdx.x % 32 / 4 + 8 * h;
    if (row < rows) write_row(sums, h, by, to + row * apart + part, width - part);
  }
}

#define GRADIENTS(D, S, T)                                                                                                     \
  extern "C" __global__ void __launch_bounds__(CREW) queries_gradient_##D##_##S(                                                  \
      const T* g, HEADS(g), const T* q, HEADS(q), const T* k, HEADS(k), const T* v, HEADS(v), const T* out, HEADS(out),        \
      const WIDE_##S* statistics, WIDE_##S* along, T* gq, int batch, int heads, int shared_heads, int queries, int keys,       \
      int wide, int deep, SCORES(T)) {                                                                                         \
    int tiles = (queries + ROWS - 1) / ROWS, at = blockIdx.x / tiles, b = at / heads, h = at % heads;                          \
    int first = (tiles - 1 - blockIdx.x % tiles) * ROWS, shared = h / (heads / shared_heads);                                  \
    int64 row = (int64)at * queries, all = (int64)batch * heads * queries;                                                     \
    queries_gradient<D, T>(HEAD(T, g, h, queries, deep), HEAD(T, q, h, queries, wide), HEAD(T, k, shared, keys, wide),         \
                           HEAD(T, v, shared, keys, deep), HEAD(T, out, h, queries, deep), SCORES_OF(T, b, h), first,          \
                           statistics + row, statistics + all + row, along + row,                                              \
                           gq + ((int64)b * queries * heads + h) * wide, (int64)heads * wide);                                 \
  }                                                                                                                            \
  extern "C" __global__ void __launch_bounds__(CREW) keys_gradient_##D##_##S(                                                     \
      const T* g, HEADS(g), const T* q, HEADS(q), const T* k, HEADS(k), const T* v, HEADS(v), const WIDE_##S* statistics,      \
      const WIDE_##S* along, T* gk, T* gv, int batch, int heads, int shared_heads, int queries, int keys, int wide, int deep,  \
      SCORES(T)) {                                                                                                             \
    const int KEYS = Shares<D>::KEYS;                                                                                          \
    int tiles = (keys + KEYS - 1) / KEYS, at = blockIdx.x / tiles, first = blockIdx.x % tiles * KEYS;                          \
    int b = at / shared_heads, shared = at % shared_heads, times = heads / shared_heads;                                       \
    int64 all = (int64)batch * heads * queries;                                                                                \
    DYN_SHARED(T, memory);                                                                                                     \
    load_rows<D, KEYS, false>(memory, HEAD(T, k, shared, keys, wide), first);                                                  \
    load_rows<D, KEYS, false>(memory + KEYS * (D + 8), HEAD(T, v, shared, keys, deep), first);                                 \
    float of_keys[Shares<D>::EACH][4], of_values[Shares<D>::EACH][4];                                                          \
    clear(of_keys), clear(of_values);                                                                                          \
    for (int h = shared * times; h < (shared + 1) * times; h++) {                                                              \
      int64 row = ((int64)b * heads + h) * queries;                                                                            \
      add_keys_gradient<D, T>(HEAD(T, g, h, queries, deep), HEAD(T, q, h, queries, wide), SCORES_OF(T, b, h), first,           \
                              statistics + row, statistics + all + row, along + row, memory, of_keys, of_values);              \
    }                                                                                                                          \
    int64 start_of = (int64)b * keys * shared_heads + shared;                                                                  \
    write_keys<D>(of_keys, (float)scale, gk + start_of * wide, (int64)shared_heads * wide, first, keys, wide);                 \
    write_keys<D>(of_values, 1.f, gv + start_of * deep, (int64)shared_heads * deep, first, keys, deep);                        \
  }
#define DEFINE(S, T)      \
  GRADIENTS(64, S, T)     \
  GRADIENTS(128, S, T)    \
  GRADIENTS(256, S, T)
FOR_HALVES(DEFINE)
