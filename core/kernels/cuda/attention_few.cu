// Attention of a few queries, as when a text is written token by token. Floor: the keys and values once through memory. A block has
// CHUNK keys and up to eight queries of the heads that share them; a second kernel joins what the chunks have found. Chunks that no
// query sees add nothing, so a cache's whole room gives the bits that its steps give.
#include "heads.cuh"

const int CHUNK = 128, MANY = 8, CREW = 128;  // keys and queries of a block, and its threads

// The scores of the block's queries: eight threads a key, each with every eighth 16 bytes of it.
template <class T>
__device__ __forceinline__ void score_chunk(const Head<T>& k, const Wide<T>* queries, const Scores<T>& scores, int rows, int64 query,
                                            int first, int count, Wide<T> (*weights)[CHUNK]) {
  typedef Wide<T> W;
  const int COUNT = Pack<T>::COUNT;
  bool packed = packs(k.at, k.apart) && k.width % COUNT == 0;
  int part = threadIdx.x % MANY;
  for (int j = threadIdx.x / MANY; j < CHUNK; j += CREW / MANY) {
    const T* key = k.at + (int64)(first + min(j, count - 1)) * k.apart;
    W products[MANY] = {};
    for (int d = part * COUNT; d < k.width; d += MANY * COUNT) {
      W some[COUNT];
      if (packed) {
        Pack<T> pack = load_pack(key + d);
#pragma unroll
        for (int e = 0; e < COUNT; e++) some[e] = read(pack.at[e]);
      } else {
#pragma unroll
        for (int e = 0; e < COUNT; e++) some[e] = d + e < k.width ? read(key[d + e]) : (W)0;
      }
#pragma unroll
      for (int r = 0; r < MANY; r++)
#pragma unroll
        for (int e = 0; e < COUNT; e++) products[r] += some[e] * queries[r * 256 + d + e];
    }
    W own = 0;
#pragma unroll
    for (int r = 0; r < MANY; r++) {
      W sum = products[r];
#pragma unroll
      for (int o = MANY / 2; o; o >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, o);
      if (r == part) own = sum;
    }
    weights[part][j] = part < rows && j < count ? scores(own, query, first + j) : (W)-INFINITY;
  }
}

// A row's scores become weights, by a warp; gives the greatest score and the sum.
template <class W, class Kept> __device__ __forceinline__ void weigh_chunk(W* row, W& most, W& total, Kept kept) {
  int lane = threadIdx.x % 32;
  W top = -INFINITY, sum = 0;
#pragma unroll
  for (int j = 0; j < CHUNK; j += 32) top = greater(top, row[j + lane]);
  most = warp_reduce(top, Greatest());
  W base = most == (W)-INFINITY ? (W)0 : most;
#pragma unroll
  for (int j = 0; j < CHUNK; j += 32) {
    W p = exponential(row[j + lane] - base);
    sum += p;
    row[j + lane] = p == 0 ? p : p * kept(j + lane);
  }
  total = warp_reduce(sum, Sum());
}

// The values as the weights say, K features a thread at once: threads with the same features have every so many-th key, and
// leave their sums in `sums` (crews, MANY, width). Gives how many crews there are.
template <int K, class T>
__device__ __forceinline__ int mix_chunk(const Head<T>& v, const Wide<T> (*weights)[CHUNK], int first, int count, Wide<T>* sums) {
  typedef Wide<T> W;
  int across = (v.width + K - 1) / K, side = min(across, CREW), crews = CREW / side, crew = threadIdx.x / side;
  if (crew < crews)
    for (int at = threadIdx.x % side; at < across; at += side) {
      W mixed[MANY][K] = {};
      for (int j = crew; j < count; j += crews) {
        Some<W, K> some = read_some<K>(v.at + (int64)(first + j) * v.apart + at * K);
#pragma unroll
        for (int r = 0; r < MANY; r++) {
          W p = weights[r][j];
#pragma unroll
          for (int e = 0; e < K; e++)
            if (p != 0) mixed[r][e] += p * some.at[e];  // what is not seen takes no part
        }
      }
#pragma unroll
      for (int r = 0; r < MANY; r++)
#pragma unroll
        for (int e = 0; e < K; e++) sums[(crew * MANY + r) * v.width + at * K + e] = mixed[r][e];
    }
  return crews;
}

// parts (batch * heads * queries, chunks, deep) and for each of their rows two numbers of `found`; heads that share one of keys
// are neighbours, and their queries are the block's rows.
template <class T>
__device__ void attend_chunk(const T* q, int64 q_batch, int64 q_head, int64 q_row, Head<T> k, Head<T> v, Scores<T> scores, int b,
                             int head, int queries, int rows, int from, int heads, int chunk, int chunks, int64 query, Wide<T>* parts,
                             Wide<T>* found) {
  typedef Wide<T> W;
  __shared__ W asked[MANY * 256], weights[MANY][CHUNK];
  DYN_SHARED(W, sums);
  int first = chunk * CHUNK, count = min(CHUNK, k.rows - first);
  if (first >= scores.until(queries)) {
    for (int r = threadIdx.x; r < rows; r += CREW) {
      int64 at = ((((int64)b * heads + head) * queries + from + r) * chunks + chunk) * 2;
      found[at] = (W)-INFINITY, found[at + 1] = 0;
    }
    return;
  }
  for (int i = threadIdx.x; i < MANY * 256; i += CREW) {
    int r = from + i / 256, d = i % 256;
    bool there = i / 256 < rows && d < k.width;
    asked[i] = there ? read(q[b * q_batch + (head + r / queries) * q_head + r % queries * q_row + d]) : (W)0;
  }
  __syncthreads();
  score_chunk(k, asked, scores, rows, query, first, count, weights);
  __syncthreads();
  for (int r = threadIdx.x / 32; r < MANY; r += CREW / 32) {
    W most, total;
    Scores<T> of_row = scores;
    int64 whole = ((int64)b * heads + head) * queries + from + r;  // the query's number among all
    of_row.first_word = whole * scores.keys;
    weigh_chunk(weights[r], most, total, [&](int j) { return of_row.kept(0, first + j); });
    if (r < rows && threadIdx.x % 32 == 0) {
      found[(whole * chunks + chunk) * 2] = most;
      found[(whole * chunks + chunk) * 2 + 1] = total;
    }
  }
  __syncthreads();
  const int K = Pack<T>::COUNT;
  int crews = packs(v.at, v.apart) && v.width % K == 0 ? mix_chunk<K>(v, weights, first, count, sums)
                                                       : mix_chunk<1>(v, weights, first, count, sums);
  __syncthreads();
  for (int i = threadIdx.x; i < rows * v.width; i += CREW) {
    W sum = 0;
    for (int crew = 0; crew < crews; crew++) sum += sums[crew * MANY * v.width + i];
    int64 whole = ((int64)b * heads + head) * queries + from + i / v.width;
    parts[(whole * chunks + chunk) * v.width + i % v.width] = sum;
  }
}

// A block for each query. out (batch, queries, heads, deep).
template <class T>
__device__ void join_chunks(const Wide<T>* parts, const Wide<T>* found, T* out, Wide<T>* statistics, int64 all, int heads, int queries,
                            int chunks, int deep) {
  typedef Wide<T> W;
  int64 row = blockIdx.x;
  parts += row * chunks * deep, found += row * chunks * 2;
  W most = -INFINITY, total = 0;
  for (int c = 0; c < chunks; c++) most = greater(most, found[2 * c]);
  W base = most == (W)-INFINITY ? (W)0 : most;
  for (int c = 0; c < chunks; c++) total += found[2 * c + 1] * exponential(found[2 * c] - base);
  int64 place = ((row / queries / heads * queries + row % queries) * heads + row / queries % heads) * deep;
  for (int i = threadIdx.x; i < deep; i += blockDim.x) {
    W sum = 0;
    for (int c = 0; c < chunks; c++) {
      W by = exponential(found[2 * c] - base);
      if (by != 0) sum += parts[(int64)c * deep + i] * by;
    }
    out[place + i] = write<T>(total == 0 ? (W)0 : sum / total);
  }
  if (statistics && threadIdx.x == 0) statistics[row] = base, statistics[all + row] = total;
}

#define DEFINE(S, T)                                                                                                           \
  extern "C" __global__ void __launch_bounds__(CREW) attend_chunks_##S(                                                        \
      const T* q, HEADS(q), const T* k, HEADS(k), const T* v, HEADS(v), WIDE_##S* parts, WIDE_##S* found, int chunks,          \
      int batch, int heads, int shared_heads, int queries, int keys, int wide, int deep, SCORES(T), const double* start_at) {  \
    if (start_at) start = (int64)*start_at;                                                                                    \
    int times = heads / shared_heads, groups = (times * queries + MANY - 1) / MANY, at = blockIdx.x / chunks;                  \
    int from = at % groups * MANY, shared = at / groups % shared_heads, b = at / groups / shared_heads;                        \
    int head = shared * times, rows = min(MANY, times * queries - from);                                                       \
    int own = min(from + (int)threadIdx.x % MANY, times * queries - 1);                                                        \
    attend_chunk<T>(q, q_batch, q_head, q_row, HEAD(T, k, shared, keys, wide), HEAD(T, v, shared, keys, deep),                 \
                    SCORES_OF(T, b, (head + own / queries)), b, head, queries, rows, from, heads, blockIdx.x % chunks, chunks, \
                    own % queries, parts, found);                                                                              \
  }                                                                                                                            \
  extern "C" __global__ void join_chunks_##S(const WIDE_##S* parts, const WIDE_##S* found, T* out, WIDE_##S* statistics,       \
                                             int64 all, int heads, int queries, int chunks, int deep) {                        \
    join_chunks<T>(parts, found, out, statistics, all, heads, queries, chunks, deep);                                          \
  }
FOR_FLOATS(DEFINE)
