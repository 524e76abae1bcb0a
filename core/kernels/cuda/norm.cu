// Layer, RMS and group norm, forward and back: with half precision a forward moves 4 bytes an element and a backward 6.
#include "norms.cuh"

// Weight and bias: a number a channel. A row has `each` channels of `inner` numbers, and is one of the `groups` of its sample.
template <class T> struct PerChannel {
  const T *weight, *bias;
  int groups, each, inner;
  template <int K> __device__ __forceinline__ Some<Wide<T>, K> found(const T* p, Wide<T> otherwise, int64 row, int i) const {
    if (!p) return filled<K>(otherwise);
    int channel = (int)(row % groups) * each + i / inner, left = inner - i % inner;
    Some<Wide<T>, K> out;
#pragma unroll
    for (int k = 0; k < K; k++) {
      out.at[k] = read(p[channel]);
      if (--left == 0) channel++, left = inner;
    }
    return out;
  }
  template <int K> __device__ __forceinline__ Some<Wide<T>, K> scale(int64 row, int i) const { return found<K>(weight, 1, row, i); }
  template <int K> __device__ __forceinline__ Some<Wide<T>, K> shift(int64 row, int i) const { return found<K>(bias, 0, row, i); }
};

template <class Team, class T, int HELD, bool CENTRED>
__device__ void norm(const T* x, const T* weight, const T* bias, T* y, Wide<T>* mean, Wide<T>* inverse, int64 rows, int n, double eps) {
  typedef Row<Team, T, Pack<T>::COUNT, HELD> Packed;
  typedef Row<Team, T, 1, HELD> Single;
  int64 r = Team::row();
  if (r >= rows) return;
  PerColumn<T> affine = {weight, bias};
  if (packs(x, n) && packs(y, n) && packs(weight, n) && packs(bias, n))
    normalise<CENTRED>(Packed(x + r * n, n), affine, y, mean, inverse, r, n, eps);
  else
    normalise<CENTRED>(Single(x + r * n, n), affine, y, mean, inverse, r, n, eps);
}

template <class Team, class T, int HELD>
__device__ void norm_of_group(const T* x, const T* weight, const T* bias, T* y, Wide<T>* mean, Wide<T>* inverse, int64 rows, int n,
                              int groups, int inner, double eps) {
  typedef Row<Team, T, Pack<T>::COUNT, HELD> Packed;
  typedef Row<Team, T, 1, HELD> Single;
  int64 r = Team::row();
  if (r >= rows) return;
  PerChannel<T> affine = {weight, bias, groups, n / inner, inner};
  if (packs(x, n) && packs(y, n))
    normalise<true>(Packed(x + r * n, n), affine, y, mean, inverse, r, n, eps);
  else
    normalise<true>(Single(x + r * n, n), affine, y, mean, inverse, r, n, eps);
}

template <class Team, class T, int HELD, bool CENTRED>
__device__ void norm_backward(const T* g, const T* x, const T* weight, const Wide<T>* mean, const Wide<T>* inverse, T* gx,
                              Wide<T>* parts, int64 rows, int n) {
  bool packed = packs(g, n) && packs(x, n) && packs(gx, n) && packs(weight, n);
  int64 biases = (int64)gridDim.x * n;
  if (packed)
    norm_backward_rows<Team, T, Pack<T>::COUNT, HELD, CENTRED>(g, x, weight, mean, inverse, Written<T>{gx, n}, parts, biases, rows, n);
  else
    norm_backward_rows<Team, T, 1, HELD, CENTRED>(g, x, weight, mean, inverse, Written<T>{gx, n}, parts, biases, rows, n);
}

// A thread a column, a block a stretch of rows: what these add to the gradients of weight and bias, where rows are very long.
template <class T>
__device__ void columns_of_rows(const T* g, const T* x, const Wide<T>* means, const Wide<T>* inverses, Wide<T>* parts, int64 rows, int n) {
  typedef Wide<T> W;
  int64 each = (rows + gridDim.y - 1) / gridDim.y, first = blockIdx.y * each, last = first + each < rows ? first + each : rows;
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  W gw = 0, gb = 0;
  for (int64 r = first; r < last; r++) {
    W d = read(g[r * n + i]);
    gw += d * ((read(x[r * n + i]) - (means ? means[r] : 0)) * inverses[r]);
    gb += d;
  }
  parts[(int64)blockIdx.y * n + i] = gw;
  parts[(int64)(gridDim.y + blockIdx.y) * n + i] = gb;
}

// For each channel of each sample, a row of `inner` numbers: the sum of the gradient times the normalised numbers, and of the
// gradient: (2, samples * channels). `each` channels share a mean.
template <class Team, class T, int K>
__device__ __forceinline__ void plane_sums(const T* g, const T* x, const Wide<T>* means, const Wide<T>* inverses, Wide<T>* sums, int64 planes,
                           int each, int inner) {
  typedef Wide<T> W;
  int64 plane = Team::row();
  W mean = means[plane / each], inverse = inverses[plane / each], gw = 0, gb = 0;
  walk<Team, K, 0>(inner, [&](int, int i) {
    Some<W, K> v = read_some<K>(x + plane * inner + i), d = read_some<K>(g + plane * inner + i);
#pragma unroll
    for (int k = 0; k < K; k++) gw += d.at[k] * ((v.at[k] - mean) * inverse), gb += d.at[k];
  });
  gw = Team::reduce(gw, Sum(), (W)0);
  gb = Team::reduce(gb, Sum(), (W)0);
  if (Team::rank() == 0) sums[plane] = gw, sums[planes + plane] = gb;
}
template <class Team, class T>
__device__ void group_sums(const T* g, const T* x, const Wide<T>* mean, const Wide<T>* inverse, Wide<T>* sums, int64 planes, int each, int inner) {
  if (Team::row() >= planes) return;
  if (packs(g, inner) && packs(x, inner))
    plane_sums<Team, T, Pack<T>::COUNT>(g, x, mean, inverse, sums, planes, each, inner);
  else
    plane_sums<Team, T, 1>(g, x, mean, inverse, sums, planes, each, inner);
}

// The gradient of the groups' rows, from the sums of their channels.
template <class Team, class T, int K>
__device__ __forceinline__ void group_rows(const T* g, const T* x, PerChannel<T> affine, const Wide<T>* means, const Wide<T>* inverses,
                           const Wide<T>* sums, T* gx, int64 rows, int n) {
  typedef Wide<T> W;
  int64 r = Team::row(), planes = rows * affine.each;
  W mean = means[r], inverse = inverses[r], sum = 0, along = 0;
  for (int c = Team::rank(); c < affine.each; c += Team::size()) {
    W w = affine.weight ? read(affine.weight[r % affine.groups * affine.each + c]) : 1;
    along += w * sums[r * affine.each + c];
    sum += w * sums[planes + r * affine.each + c];
  }
  sum = Team::reduce(sum, Sum(), (W)0) / n;
  along = Team::reduce(along, Sum(), (W)0) / n;
  walk<Team, K, 0>(n, [&](int, int i) {
    Some<W, K> v = read_some<K>(x + r * n + i), d = read_some<K>(g + r * n + i), w = affine.template scale<K>(r, i);
#pragma unroll
    for (int k = 0; k < K; k++) v.at[k] = (d.at[k] * w.at[k] - sum - (v.at[k] - mean) * inverse * along) * inverse;
    write_some(gx + r * n + i, v);
  });
}
template <class Team, class T>
__device__ void group_backward(const T* g, const T* x, const T* weight, const Wide<T>* mean, const Wide<T>* inverse, const Wide<T>* sums,
                               T* gx, int64 rows, int n, int groups, int inner) {
  if (Team::row() >= rows) return;
  PerChannel<T> affine = {weight, nullptr, groups, n / inner, inner};
  if (packs(g, n) && packs(x, n) && packs(gx, n))
    group_rows<Team, T, Pack<T>::COUNT>(g, x, affine, mean, inverse, sums, gx, rows, n);
  else
    group_rows<Team, T, 1>(g, x, affine, mean, inverse, sums, gx, rows, n);
}

#define OF_TEAM(team, Team, HELD, THREADS, S, T) \
  extern "C" __global__ void __launch_bounds__(THREADS) layer_norm_##team##_##S(const T* x, const T* weight, const T* bias, T* y, WIDE_##S* mean, \
                                                     WIDE_##S* inverse, int64 rows, int n, double eps) { \
    norm<Team, T, HELD, true>(x, weight, bias, y, mean, inverse, rows, n, eps); \
  } \
  extern "C" __global__ void __launch_bounds__(THREADS) rms_norm_##team##_##S(const T* x, const T* weight, T* y, WIDE_##S* inverse, int64 rows, int n, \
                                                   double eps) { \
    norm<Team, T, HELD, false>(x, weight, nullptr, y, nullptr, inverse, rows, n, eps); \
  } \
  extern "C" __global__ void __launch_bounds__(THREADS) group_norm_##team##_##S(const T* x, const T* weight, const T* bias, T* y, WIDE_##S* mean, \
                                                     WIDE_##S* inverse, int64 rows, int n, int groups, int inner, double eps) { \
    norm_of_group<Team, T, HELD>(x, weight, bias, y, mean, inverse, rows, n, groups, inner, eps); \
  } \
  extern "C" __global__ void __launch_bounds__(THREADS) layer_norm_backward_##team##_##S(const T* g, const T* x, const T* weight, const WIDE_##S* mean, \
                                                              const WIDE_##S* inverse, T* gx, WIDE_##S* parts, int64 rows, int n) { \
    norm_backward<Team, T, HELD, true>(g, x, weight, mean, inverse, gx, parts, rows, n); \
  } \
  extern "C" __global__ void __launch_bounds__(THREADS) rms_norm_backward_##team##_##S(const T* g, const T* x, const T* weight, const WIDE_##S* inverse, \
                                                            T* gx, WIDE_##S* parts, int64 rows, int n) { \
    norm_backward<Team, T, HELD, false>(g, x, weight, nullptr, inverse, gx, parts, rows, n); \
  }
#define OF_PLANES(team, Team, S, T) \
  extern "C" __global__ void group_sums_##team##_##S(const T* g, const T* x, const WIDE_##S* mean, const WIDE_##S* inverse, \
                                                     WIDE_##S* sums, int64 planes, int each, int inner) { \
    group_sums<Team, T>(g, x, mean, inverse, sums, planes, each, inner); \
  } \
  extern "C" __global__ void group_backward_##team##_##S(const T* g, const T* x, const T* weight, const WIDE_##S* mean, \
                                                         const WIDE_##S* inverse, const WIDE_##S* sums, T* gx, int64 rows, int n, \
                                                         int groups, int inner) { \
    group_backward<Team, T>(g, x, weight, mean, inverse, sums, gx, rows, n, groups, inner); \
  }
#define DEFINE(S, T) \
  OF_TEAM(warp, WarpTeam, Holds<T>::WARP, 256, S, T) \
  OF_TEAM(block, BlockTeam, Holds<T>::BLOCK, 512, S, T) \
  OF_TEAM(long, BlockTeam, 0, 512, S, T) \
  OF_PLANES(warp, WarpTeam, S, T) \
  OF_PLANES(block, BlockTeam, S, T) \
  extern "C" __global__ void columns_of_rows_##S(const T* g, const T* x, const WIDE_##S* mean, const WIDE_##S* inverse, \
                                                 WIDE_##S* parts, int64 rows, int n) { \
    columns_of_rows<T>(g, x, mean, inverse, parts, rows, n); \
  } \
  extern "C" __global__ void sum_parts_##S(const WIDE_##S* parts, WIDE_##S* sums, int count, int64 n) { \
    sum_parts(parts, sums, count, n); \
  }
FOR_FLOATS(DEFINE)
