// Attention of half precision on tensor cores, as attention.cu has it for float. A warp has 16 queries, a block 64; scores and
// weights stay in the registers that the products leave and take them in: thread (g, t) = (lane / 4, lane % 4) has of a warp's rows
// g and g + 8 the columns 2 t and 2 t + 1 of each 8. Rows in shared memory are 16 bytes longer than they need be, so that the eight
// rows of a matrix begin in different banks.
#include "heads.cuh"
#include "ptx.cuh"

const int CREW = 128, QUERIES = 64, KEYS = 64, COLUMNS = KEYS / 8;

// 64 rows from number `first` on, zeros beyond their ends. Gives whether what this thread has read is finite, if that is asked for.
template <int D, bool LOOK, class T> __device__ __forceinline__ bool load_rows(T* to, const Head<T>& head, int first) {
  const int COUNT = Pack<T>::COUNT;
  bool packed = packs(head.at, head.apart) && head.width % COUNT == 0, all = true;
  for (int p = threadIdx.x; p < 64 * (D / COUNT); p += CREW) {
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

// s = the warp's queries times a tile of keys.
template <int D, class T> __device__ __forceinline__ void multiply_keys(const T* queries, const T* keys, float (&s)[COLUMNS][4]) {
  int lane = threadIdx.x % 32;
  queries += (threadIdx.x / 32 * 16 + lane % 16) * (D + 8) + lane / 16 * 8;
  keys += (lane / 16 * 8 + lane % 8) * (D + 8) + lane / 8 % 2 * 8;
#pragma unroll
  for (int j = 0; j < COLUMNS; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) s[j][e] = 0;
#pragma unroll 4
  for (int d = 0; d < D; d += 16) {
    unsigned a[4], b[4];
    load_matrices(a, queries + d);
#pragma unroll
    for (int j = 0; j < COLUMNS; j += 2) {
      load_matrices(b, keys + j * 8 * (D + 8) + d);
      unsigned low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
      tensor_product(s[j], a, low, T());
      tensor_product(s[j + 1], a, high, T());
    }
  }
}

// mixed += the weights times a tile of values; where SEEN, a weight of 0 takes nothing, be the value infinite or not a number.
template <int D, bool SEEN, class T>
__device__ __forceinline__ void mix_values(const float (&weights)[COLUMNS][4], const T* values, float (&mixed)[D / 8][4]) {
  int lane = threadIdx.x % 32;
  const T* from = values + lane % 16 * (D + 8) + lane / 16 * 8;
#pragma unroll
  for (int j = 0; j < COLUMNS; j += 2) {
    unsigned b[4], a[4] = {pair<T>(weights[j][0], weights[j][1]), pair<T>(weights[j][2], weights[j][3]),
                           pair<T>(weights[j + 1][0], weights[j + 1][1]), pair<T>(weights[j + 1][2], weights[j + 1][3])};
#pragma unroll
    for (int m = 0; m < D / 8; m += 2) {
      load_matrices_turned(b, from + j * 8 * (D + 8) + m * 8);
      if (SEEN) {
#pragma unroll
        for (int i = 0; i < 4; i++) b[i] = finite_ones<T>(b[i]);
      }
      unsigned low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
      tensor_product(mixed[m], a, low, T());
      tensor_product(mixed[m + 1], a, high, T());
    }
  }
  if (!SEEN) return;
  for (int key = 0; key < KEYS; key++) {  // whatever is not finite, to those that see it
    float upper = 0, lower = 0;
#pragma unroll
    for (int j = 0; j < COLUMNS; j++)
#pragma unroll
      for (int e = 0; e < 2; e++)
        if (key == j * 8 + lane % 4 * 2 + e) upper = weights[j][e], lower = weights[j][2 + e];
    unsigned above = __ballot_sync(0xffffffffu, upper != 0), below = __ballot_sync(0xffffffffu, lower != 0);
    bool sees[2] = {(above >> lane / 4 * 4 & 15) != 0, (below >> lane / 4 * 4 & 15) != 0};
#pragma unroll
    for (int m = 0; m < D / 8; m++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        float value = read(values[key * (D + 8) + m * 8 + lane % 4 * 2 + e % 2]);
        if (sees[e / 2] && !finite(value)) mixed[m][e] += value;
      }
  }
}

template <int D, class T>
__device__ void attend(Head<T> q, Head<T> k, Head<T> v, const Scores<T>& scores, int first, T* out, int64 apart, float* largest,
                       float* total) {
  DYN_SHARED(T, memory);
  T *queries = memory, *keys = queries + QUERIES * (D + 8), *values = keys + KEYS * (D + 8);
  int lane = threadIdx.x % 32, own = first + threadIdx.x / 32 * 16 + lane / 4, column = lane % 4 * 2;
  load_rows<D, false>(queries, q, first);
  float most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}, mixed[D / 8][4];
#pragma unroll
  for (int m = 0; m < D / 8; m++)
#pragma unroll
    for (int e = 0; e < 4; e++) mixed[m][e] = 0;
  int until = scores.until(min(first + QUERIES, q.rows));
  for (int key = 0; key < until; key += KEYS) {
    __syncthreads();  // the tiles before are read
    load_rows<D, false>(keys, k, key);
    bool all = load_rows<D, true>(values, v, key);
    all = __syncthreads_and(all);
    float s[COLUMNS][4];
    multiply_keys<D>(queries, keys, s);
    bool plain = !scores.allowed && !scores.mask && key + KEYS <= scores.keys && key + KEYS - 1 <= scores.start + first;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      int row = own + 8 * h;
      float top = -INFINITY;
#pragma unroll
      for (int j = 0; j < COLUMNS; j++)
#pragma unroll
        for (int e = 2 * h; e < 2 * h + 2; e++) {
          if (plain)
            s[j][e] *= scores.scale;
          else
            s[j][e] = row < q.rows ? scores(s[j][e], row, key + j * 8 + column + e % 2) : -INFINITY;
          top = greater(top, s[j][e]);
        }
      top = greater(most[h], quad_reduce(top, Greatest()));
      float base = top == -INFINITY ? 0 : top, shrink = exponential(most[h] - base), added = 0;
      most[h] = top;
#pragma unroll
      for (int j = 0; j < COLUMNS; j++)
#pragma unroll
        for (int e = 2 * h; e < 2 * h + 2; e++) {
          s[j][e] = exponential(s[j][e] - base);
          added += s[j][e];
          if (scores.below && s[j][e] != 0) s[j][e] *= scores.kept(row, key + j * 8 + column + e % 2);
        }
      sum[h] = sum[h] * shrink + quad_reduce(added, Sum());
#pragma unroll
      for (int m = 0; m < D / 8; m++)
#pragma unroll
        for (int e = 2 * h; e < 2 * h + 2; e++) mixed[m][e] = mixed[m][e] == 0 ? 0 : mixed[m][e] * shrink;
    }
    if (all)
      mix_values<D, false>(s, values, mixed);
    else
      mix_values<D, true>(s, values, mixed);
  }
#pragma unroll
  for (int h = 0; h < 2; h++) {
    int row = own + 8 * h;
    if (row >= q.rows) continue;
    float by = sum[h] == 0 ? 0 : 1 / sum[h];
#pragma unroll
    for (int m = 0; m < D / 8; m++) {
      int at = m * 8 + column;
      unsigned two = pair<T>(sum[h] == 0 ? 0 : mixed[m][2 * h] * by, sum[h] == 0 ? 0 : mixed[m][2 * h + 1] * by);
      const T* ends = reinterpret_cast<const T*>(&two);
      if (v.width % 2 == 0 && at < v.width) *reinterpret_cast<unsigned*>(out + row * apart + at) = two;
      if (v.width % 2 && at < v.width) out[row * apart + at] = ends[0];
      if (v.width % 2 && at + 1 < v.width) out[row * apart + at + 1] = ends[1];
    }
    if (largest && column == 0) {
      largest[row] = most[h] == -INFINITY ? 0 : most[h];
      total[row] = sum[h];
    }
  }
}

// As in attention.cu: out (batch, queries, heads, deep); statistics (2, batch, heads, queries) or null; the last queries first.
#define ATTENTION(D, S, T)                                                                                                   \
  extern "C" __global__ void __launch_bounds__(CREW) attention_##D##_##S(                                                       \
      const T* q, HEADS(q), const T* k, HEADS(k), const T* v, HEADS(v), T* out, WIDE_##S* statistics, int batch, int heads,  \
      int shared_heads, int queries, int keys, int wide, int deep, SCORES(T)) {                                              \
    int tiles = (queries + QUERIES - 1) / QUERIES, at = blockIdx.x / tiles, b = at / heads, h = at % heads;                  \
    int first = (tiles - 1 - blockIdx.x % tiles) * QUERIES, shared = h / (heads / shared_heads);                             \
    int64 row = (int64)at * queries, all = (int64)batch * heads * queries;                                                   \
    attend<D, T>(HEAD(T, q, h, queries, wide), HEAD(T, k, shared, keys, wide), HEAD(T, v, shared, keys, deep), SCORES_OF(T, b, h),    \
                 first, out + ((int64)b * queries * heads + h) * deep, (int64)heads * deep,                                  \
                 statistics ? statistics + row : statistics, statistics + all + row);                                        \
  }
#define DEFINE(S, T)      \
  ATTENTION(64, S, T)     \
  ATTENTION(128, S, T)    \
  ATTENTION(256, S, T)
FOR_HALVES(DEFINE)
