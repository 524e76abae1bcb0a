// Batch norm with its activation, in training and in evaluation, and back. Numbers of a channel lie in planes (N, C, ...), a team a
// plane, or in columns (rows, C), a thread a column or a pack of them, which loads what it needs of its channels once.
// In half precision a forward moves 6 bytes an element (4 in evaluation), a backward 10: the statistics need a walk of their own.
// Their sums are made in two stages: `parts` (2, count, channels), then one channel by one.
#include "parts.cuh"

template <class T> struct In {
  const T* x;
  int64 rows;  // samples of planes, rows of columns
  int channels, inner;
};

template <class Team> struct Planes {
  static const int CHANNELS = 1;  // a thread's
  template <class T> static __device__ __forceinline__ bool none(In<T> in) { return Team::row() >= in.rows * in.channels; }
  template <class T> static __device__ __forceinline__ int channel(In<T> in) { return Team::row() % in.channels; }
  // f(width, i) for the numbers x[i] that are this thread's
  template <class T, class F> static __device__ __forceinline__ void walk(In<T> in, bool packed, F f) {
    int64 first = Team::row() * in.inner;
    walk_from<Team>(in.x + first, in.inner, packed, [&](auto width, int i) { f(width, first + i); });
  }
  // the team's sum into its place of parts (samples, channels)
  template <class T, class W> static __device__ __forceinline__ void put(In<T>, W (&sum)[1], W* parts) {
    W all = Team::reduce(sum[0], Sum(), (W)0);
    if (Team::rank() == 0) parts[Team::row()] = all;
  }
};

template <int K> struct Columns {
  static const int CHANNELS = K;
  template <class T> static __device__ __forceinline__ int channel(In<T>) { return (blockIdx.x * blockDim.x + threadIdx.x) * K; }
  template <class T> static __device__ __forceinline__ bool none(In<T> in) { return channel(in) >= in.channels; }
  static __device__ __forceinline__ int64 part() { return (int64)blockIdx.y * blockDim.y + threadIdx.y; }
  static __device__ __forceinline__ int64 parts() { return (int64)gridDim.y * blockDim.y; }
  template <class T, class F> static __device__ __forceinline__ void walk(In<T> in, bool, F f) {
    for (int64 r = part(); r < in.rows; r += parts()) f(Width<K>(), r * in.channels + channel(in));
  }
  template <class T, class W> static __device__ __forceinline__ void put(In<T> in, W (&sum)[K], W* to) {
#pragma unroll
    for (int k = 0; k < K; k++) to[part() * in.channels + channel(in) + k] = sum[k];
  }
};

// Numbers of a thread's channels.
template <class L, class W> struct Of {
  W at[L::CHANNELS];
  __device__ __forceinline__ Of(W value) {
#pragma unroll
    for (int c = 0; c < L::CHANNELS; c++) at[c] = value;
  }
  template <class T> __device__ __forceinline__ Of(In<T> in, const W* p, W otherwise) {
#pragma unroll
    for (int c = 0; c < L::CHANNELS; c++) at[c] = p ? p[L::channel(in) + c] : otherwise;
  }
  // that of the k-th number of a pack
  __device__ __forceinline__ W& operator[](int k) { return at[L::CHANNELS == 1 ? 0 : k]; }
};

enum { NONE, RELU, RELU6 };  // what comes behind

// Mean, and sum of the squares of the differences to it: of a plane read twice ...
template <class Team, class T> __device__ void moments(Planes<Team>, In<T> in, Wide<T>* parts) {
  typedef Wide<T> W;
  typedef Planes<Team> L;
  if (L::none(in)) return;
  W mean = 0, squares = 0;
  L::walk(in, true, [&](auto width, int64 i) {
    auto v = read_some<width.COUNT>(in.x + i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++) mean += v.at[k];
  });
  mean = Team::reduce(mean, Sum(), (W)0) / in.inner;
  L::walk(in, true, [&](auto width, int64 i) {
    auto v = read_some<width.COUNT>(in.x + i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++) squares += (v.at[k] - mean) * (v.at[k] - mean);
  });
  squares = Team::reduce(squares, Sum(), (W)0);
  if (Team::rank()) return;
  parts[Team::row()] = mean;
  parts[in.rows * in.channels + Team::row()] = squares;
}
// ... of columns read once (Welford).
template <int K, class T> __device__ void moments(Columns<K>, In<T> in, Wide<T>* parts) {
  typedef Wide<T> W;
  typedef Columns<K> L;
  if (L::none(in)) return;
  W mean[K], squares[K], count = 0;
#pragma unroll
  for (int k = 0; k < K; k++) mean[k] = squares[k] = 0;
  L::walk(in, true, [&](auto width, int64 i) {
    auto v = read_some<K>(in.x + i);
    count += 1;
    W share = 1 / count;
#pragma unroll
    for (int k = 0; k < K; k++) {
      W away = v.at[k] - mean[k];
      mean[k] += away * share;
      squares[k] += away * (v.at[k] - mean[k]);
    }
  });
  L::put(in, mean, parts);
  L::put(in, squares, parts + L::parts() * in.channels);
}

// The channels' mean and variance from the parts', and what batch_affine needs. Part p is of `each` numbers, the first `more` parts
// of one more. Blocks of 32 channels by 8.
template <class W>
__device__ void statistics(const W* parts, int64 count, int channels, int64 each, int64 more, const W* weight, double eps, W* means,
                           W* vars, W* scales) {
  __shared__ W of[8][33];
  int c = blockIdx.x * 32 + threadIdx.x;
  W total = (W)each * count + more, sum = 0, mean = 0;
  for (int turn = 0; turn < 2; turn++) {
    sum = 0;
    for (int64 p = threadIdx.y; c < channels && p < count; p += 8) {
      W here = each + (p < more), m = parts[p * channels + c];
      sum += turn ? parts[(count + p) * channels + c] + here * (m - mean) * (m - mean) : here * m;
    }
    __syncthreads();
    of[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    sum = 0;
    for (int y = 0; y < 8; y++) sum += of[y][threadIdx.x];
    if (turn == 0) mean = sum / total;
  }
  if (threadIdx.y || c >= channels) return;
  W var = sum / total;
  means[c] = mean, vars[c] = var, scales[c] = 1 / root(var + (W)eps) * (weight ? weight[c] : 1);
}

// (x - mean) * scale + shift, and the activation; mean and shift may be null.
template <class L, class T>
__device__ void affine(In<T> in, const Wide<T>* means, const Wide<T>* scales, const Wide<T>* shifts, T* y, int activation) {
  typedef Wide<T> W;
  if (L::none(in)) return;
  Of<L, W> mean(in, means, 0), scale(in, scales, 1), shift(in, shifts, 0);
  L::walk(in, alike(in.x, (const T*)y), [&](auto width, int64 i) {
    auto v = read_some<width.COUNT>(in.x + i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++) {
      W out = (v.at[k] - mean[k]) * scale[k] + shift[k];
      if (activation != NONE) out = greater(out, (W)0);
      v.at[k] = activation == RELU6 && out > 6 ? 6 : out;
    }
    write_some(y + i, v);
  });
}

// What both walks of the backward ask of a number: how far it is from the mean, in deviations, and what passes the activation.
template <class L, class T> struct Back {
  typedef Wide<T> W;
  Of<L, W> mean, inverse, scale, shift;
  int activation;
  __device__ __forceinline__ Back(In<T> in, const W* means, const W* vars, const W* weights, const W* biases, double eps, int kind)
      : mean(in, means, 0), inverse(in, vars, 1), scale(in, weights, 1), shift(in, biases, 0), activation(kind) {
#pragma unroll
    for (int c = 0; c < L::CHANNELS; c++) {
      inverse.at[c] = 1 / root(inverse.at[c] + (W)eps);
      scale.at[c] *= inverse.at[c];
    }
  }
  __device__ __forceinline__ W away(W x, int k) { return (x - mean[k]) * inverse[k]; }
  __device__ __forceinline__ W passed(W g, W x, int k) {
    if (activation == NONE) return g;
    W y = (x - mean[k]) * scale[k] + shift[k];
    return y > 0 && !(activation == RELU6 && y >= 6) ? g : 0;
  }
};

// The sums of the gradient times the normalised numbers, and of the gradient.
template <class L, class T> __device__ void backward_sums(In<T> in, const T* g, Back<L, T> back, Wide<T>* parts, int64 count) {
  typedef Wide<T> W;
  if (L::none(in)) return;
  Of<L, W> gw(0), gb(0);
  L::walk(in, alike(in.x, g), [&](auto width, int64 i) {
    auto v = read_some<width.COUNT>(in.x + i), d = read_some<width.COUNT>(g + i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++) {
      W passed = back.passed(d.at[k], v.at[k], k);
      gw[k] += passed * back.away(v.at[k], k);
      gb[k] += passed;
    }
  });
  L::put(in, gw.at, parts);
  L::put(in, gb.at, parts + count * in.channels);
}

// The gradient of x; `sums` (2, channels) are null where the statistics are constants.
template <class L, class T> __device__ void backward(In<T> in, const T* g, Back<L, T> back, const Wide<T>* sums, double count, T* gx) {
  typedef Wide<T> W;
  if (L::none(in)) return;
  Of<L, W> gw(in, sums, 0), gb(in, sums ? sums + in.channels : nullptr, 0);
#pragma unroll
  for (int c = 0; c < L::CHANNELS; c++) gw.at[c] /= (W)count, gb.at[c] /= (W)count;
  L::walk(in, alike(in.x, g) && alike(in.x, (const T*)gx), [&](auto width, int64 i) {
    auto v = read_some<width.COUNT>(in.x + i), d = read_some<width.COUNT>(g + i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++)
      v.at[k] = (back.passed(d.at[k], v.at[k], k) - gb[k] - back.away(v.at[k], k) * gw[k]) * back.scale[k];
    write_some(gx + i, v);
  });
}

#define OF_LAYOUT(layout, L, S, T)                                                                                                \
  extern "C" __global__ void batch_moments_##layout##_##S(const T* x, int64 rows, int channels, int inner, WIDE_##S* parts) {     \
    moments(L(), In<T>{x, rows, channels, inner}, parts);                                                                         \
  }                                                                                                                               \
  extern "C" __global__ void batch_affine_##layout##_##S(const T* x, int64 rows, int channels, int inner, const WIDE_##S* mean,   \
                                                         const WIDE_##S* scale, const WIDE_##S* shift, T* y, int activation) {    \
    affine<L>(In<T>{x, rows, channels, inner}, mean, scale, shift, y, activation);                                                \
  }                                                                                                                               \
  extern "C" __global__ void batch_backward_sums_##layout##_##S(                                                                  \
      const T* x, int64 rows, int channels, int inner, const T* g, const WIDE_##S* mean, const WIDE_##S* var,                     \
      const WIDE_##S* weight, const WIDE_##S* bias, double eps, int activation, WIDE_##S* parts, int64 count) {                   \
    In<T> in = {x, rows, channels, inner};                                                                                        \
    if (!L::none(in)) backward_sums<L, T>(in, g, Back<L, T>(in, mean, var, weight, bias, eps, activation), parts, count);         \
  }                                                                                                                               \
  extern "C" __global__ void batch_backward_##layout##_##S(                                                                       \
      const T* x, int64 rows, int channels, int inner, const T* g, const WIDE_##S* mean, const WIDE_##S* var,                     \
      const WIDE_##S* weight, const WIDE_##S* bias, double eps, int activation, const WIDE_##S* sums, double count, T* gx) {      \
    In<T> in = {x, rows, channels, inner};                                                                                        \
    if (!L::none(in)) backward<L, T>(in, g, Back<L, T>(in, mean, var, weight, bias, eps, activation), sums, count, gx);           \
  }
#define DEFINE(S, T)                                                                                                              \
  OF_LAYOUT(warp, Planes<WarpTeam>, S, T)                                                                                         \
  OF_LAYOUT(block, Planes<BlockTeam>, S, T)                                                                                       \
  OF_LAYOUT(packs, Columns<Pack<T>::COUNT>, S, T)                                                                                 \
  OF_LAYOUT(singles, Columns<1>, S, T)                                                                                            \
  extern "C" __global__ void batch_statistics_##S(const WIDE_##S* parts, int64 count, int channels, int64 each, int64 more,       \
                                                  const WIDE_##S* weight, double eps, WIDE_##S* mean, WIDE_##S* var,              \
                                                  WIDE_##S* scale) {                                                              \
    statistics(parts, count, channels, each, more, weight, eps, mean, var, scale);                                                \
  }                                                                                                                               \
  extern "C" __global__ void batch_scale_##S(const WIDE_##S* weight, const WIDE_##S* bias, const WIDE_##S* mean,                  \
                                             const WIDE_##S* var, double eps, WIDE_##S* scale, WIDE_##S* shift, int channels) {   \
    int c = blockIdx.x * blockDim.x + threadIdx.x;                                                                                \
    if (c >= channels) return;                                                                                                    \
    double by = 1 / sqrt((double)var[c] + eps) * (weight ? (double)weight[c] : 1);                                                \
    scale[c] = by, shift[c] = (bias ? (double)bias[c] : 0) - mean[c] * by;                                                        \
  }                                                                                                                               \
  extern "C" __global__ void sum_parts_##S(const WIDE_##S* parts, WIDE_##S* sums, int count, int64 n) {                           \
    sum_parts(parts, sums, count, n);                                                                                             \
  }
FOR_FLOATS(DEFINE)
