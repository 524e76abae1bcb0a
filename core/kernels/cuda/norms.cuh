// Layer and RMS norm of rows, forward and back. A team has a row: it reads it once into registers (held.cuh) and writes once. The
// gradients of weight and bias are sums over rows: each block adds up those it has, sum_parts adds up the blocks'.
#pragma once
#include "parts.cuh"

// Weight and bias: a number a column.
template <class T> struct PerColumn {
  const T *weight, *bias;
  template <int K> __device__ __forceinline__ Some<Wide<T>, K> scale(int64, int i) const {
    return weight ? read_some<K>(weight + i) : filled<K>((Wide<T>)1);
  }
  template <int K> __device__ __forceinline__ Some<Wide<T>, K> shift(int64, int i) const {
    return bias ? read_some<K>(bias + i) : filled<K>((Wide<T>)0);
  }
};

// CENTRED: around their mean, which RMS norm does not take off.
template <bool CENTRED, class Team, class T, int K, int HELD, class Affine>
__device__ __forceinline__ void normalise(const Row<Team, T, K, HELD>& row, Affine affine, T* y, Wide<T>* means, Wide<T>* inverses,
                                          int64 r, int n, double eps) {
  typedef Wide<T> W;
  W mean = 0, sum = 0;
  if (CENTRED) {
    walk<Team, K, HELD>(n, [&](int e, int i) {
      Some<W, K> v = row.at(e, i);
#pragma unroll
      for (int k = 0; k < K; k++) mean += v.at[k];
    });
    mean = Team::reduce(mean, Sum(), (W)0) / n;
  }
  walk<Team, K, HELD>(n, [&](int e, int i) {
    Some<W, K> v = row.at(e, i);
#pragma unroll
    for (int k = 0; k < K; k++) sum += (v.at[k] - mean) * (v.at[k] - mean);
  });
  W inverse = 1 / root(Team::reduce(sum, Sum(), (W)0) / n + (W)eps);
  walk<Team, K, HELD>(n, [&](int e, int i) {
    Some<W, K> v = row.at(e, i), w = affine.template scale<K>(r, i), b = affine.template shift<K>(r, i);
#pragma unroll
    for (int k = 0; k < K; k++) v.at[k] = (v.at[k] - mean) * inverse * w.at[k] + b.at[k];
    write_some(y + r * n + i, v);
  });
  if (Team::rank() == 0) {
    if (CENTRED) means[r] = mean;
    inverses[r] = inverse;
  }
}

// The rows' gradients, to `out`, and in `parts` what this block's rows add to those of weight (parts) and bias (parts + biases); not
// where parts is null, nor where rows are too long to be held: columns_of_rows does it then.
template <class Team, class T, int K, int HELD, bool CENTRED, class Out>
__device__ __forceinline__ void norm_backward_rows(const T* g, const T* x, const T* weight, const Wide<T>* means,
                                                   const Wide<T>* inverses, Out out, Wide<T>* parts, int64 biases, int64 rows, int n) {
  typedef Wide<T> W;
  const int H = HELD ? HELD : 1;
  PerColumn<T> affine = {weight, nullptr};
  W gw[H], gb[CENTRED ? H : 1];
#pragma unroll
  for (int e = 0; e < H; e++) gw[e] = 0, gb[CENTRED ? e : 0] = 0;
  for (int64 r = Team::row(); r < rows; r += Team::count()) {
    Row<Team, T, K, HELD> from(x + r * n, n), grad(g + r * n, n);
    W mean = CENTRED ? means[r] : 0, inverse = inverses[r], sum = 0, along = 0;
    walk<Team, K, HELD>(n, [&](int e, int i) {
      Some<W, K> v = from.at(e, i), d = grad.at(e, i), w = affine.template scale<K>(r, i);
#pragma unroll
      for (int k = 0; k < K; k++) {
        W there = (v.at[k] - mean) * inverse;
        if (CENTRED) sum += d.at[k] * w.at[k];
        along += d.at[k] * w.at[k] * there;
        if (HELD) {
          gw[e + k] += d.at[k] * there;
          if (CENTRED) gb[e + k] += d.at[k];
        }
      }
    });
    if (CENTRED) sum = Team::reduce(sum, Sum(), (W)0) / n;
    along = Team::reduce(along, Sum(), (W)0) / n;
    walk<Team, K, HELD>(n, [&](int e, int i) {
      Some<W, K> v = from.at(e, i), d = grad.at(e, i), w = affine.template scale<K>(r, i);
#pragma unroll
      for (int k = 0; k < K; k++) v.at[k] = (d.at[k] * w.at[k] - sum - (v.at[k] - mean) * inverse * along) * inverse;
      out(r, i, v);
    });
  }
  if constexpr (HELD > 0) {
    if (!parts) return;
    add_up<K>(Team(), gw, parts, n);
    if constexpr (CENTRED) add_up<K>(Team(), gb, parts + biases, n);
  }
}

// Where gradients of rows of n numbers go.
template <class T> struct Written {
  T* at;
  int n;
  template <int K> __device__ __forceinline__ void operator()(int64 r, int i, const Some<Wide<T>, K>& v) const {
    write_some(at + r * n + i, v);
  }
};
