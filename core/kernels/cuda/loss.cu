// Cross entropy over class numbers. A team has a row of logits. The loss alone reads them once (2 bytes an element in half
// precision), the gradient reads and writes them (4); the step does both while the row is in the cache: 4 in all, not 6.
#include "total.cuh"

template <class T> struct Labels {
  const int64* target;
  const T* weight;  // of each class, or null
  double smoothing;
  __device__ __forceinline__ Wide<T> of_row(int64 r) const {
    int64 label = target[r];
    return label < 0 ? 0 : of_class(label);
  }
  __device__ __forceinline__ Wide<T> of_class(int64 label) const { return weight ? read(weight[label]) : 1; }
};

template <class Team, class T> __device__ __forceinline__ Total<Wide<T>> total_of(const T* row, int n) {
  typedef Wide<T> W;
  Total<W> mine, all;
  walk_from<Team>(row, n, true, [&](auto width, int i) { mine.add(read_some<width.COUNT>(row + i)); });
  all.most = Team::reduce(mine.most, Greatest(), (W)-INFINITY);
  all.sum = Team::reduce(mine.scaled_to(all.most), Sum(), (W)0);
  return all;
}

// The loss of a row, and what its gradient needs.
template <class Team, class T>
__device__ __forceinline__ Wide<T> loss_of(const T* row, Labels<T> labels, Wide<T>* loss, Wide<T>* kept, int64 r, int n, Wide<T>& top) {
  typedef Wide<T> W;
  Total<W> all = total_of<Team>(row, n);
  W log_sum = logarithm(all.sum), spread = 0;
  if (labels.smoothing) {
    walk_from<Team>(row, n, true, [&](auto width, int i) {
      auto v = read_some<width.COUNT>(row + i);
#pragma unroll
      for (int k = 0; k < width.COUNT; k++) spread += (v.at[k] - all.most - log_sum) * labels.of_class(i + k);
    });
    spread = Team::reduce(spread, Sum(), (W)0);
  }
  if (Team::rank() == 0) {
    int64 label = labels.target[r];
    W found = 0;
    if (label >= 0) found = -(read(row[label]) - all.most - log_sum) * labels.of_row(r) * (W)(1 - labels.smoothing);
    if (label >= 0 && labels.smoothing) found -= spread * (W)(labels.smoothing / n);
    loss[r] = found;
    kept[2 * r] = all.most;
    kept[2 * r + 1] = log_sum;
  }
  top = all.most;
  return log_sum;
}

// The gradient of a row's logits, from that of its loss; `spread` is the sum of the classes' weights, where they have any.
template <class Team, class T>
__device__ __forceinline__ void gradient_of(const T* row, T* gx, Labels<T> labels, Wide<T> grad, Wide<T> top, Wide<T> log_sum,
                                            const Wide<T>* spread, int64 r, int n) {
  typedef Wide<T> W;
  int64 label = labels.target[r];
  W own = labels.of_row(r) * (W)(1 - labels.smoothing), share = (W)(labels.smoothing / n), total = own;
  if (labels.smoothing) total += spread ? share * *spread : (W)labels.smoothing;
  walk_from<Team>(row, n, alike(row, gx), [&](auto width, int i) {
    auto v = read_some<width.COUNT>(row + i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++) {
      W slope = exponential((v.at[k] - top) - log_sum) * total;
      if (labels.smoothing) slope -= share * labels.of_class(i + k);
      v.at[k] = label < 0 ? 0 : slope * grad - (i + k == label ? own * grad : 0);
    }
    write_some(gx + i, v);
  });
}

template <class Team, class T>
__device__ void cross_entropy(const T* x, Labels<T> labels, Wide<T>* loss, Wide<T>* row_weight, Wide<T>* kept, int64 rows, int n) {
  int64 r = Team::row();
  if (r >= rows) return;
  Wide<T> top;
  loss_of<Team>(x + r * n, labels, loss, kept, r, n, top);
  if (Team::rank() == 0) row_weight[r] = labels.of_row(r);
}

template <class Team, class T>
__device__ void cross_entropy_backward(const Wide<T>* grad, const T* x, const Wide<T>* kept, Labels<T> labels, const Wide<T>* spread,
                                       T* gx, int64 rows, int n) {
  int64 r = Team::row();
  if (r >= rows) return;
  gradient_of<Team>(x + r * n, gx + r * n, labels, grad[r], kept[2 * r], kept[2 * r + 1], spread, r, n);
}

template <class Team, class T>
__device__ void cross_entropy_step(const T* x, Labels<T> labels, const Wide<T>* spread, const Wide<T>* factor, Wide<T>* loss,
                                   Wide<T>* kept, T* gx, int64 rows, int n) {
  int64 r = Team::row();
  if (r >= rows) return;
  Wide<T> top, log_sum = loss_of<Team>(x + r * n, labels, loss, kept, r, n, top);
  gradient_of<Team>(x + r * n, gx + r * n, labels, *factor, top, log_sum, spread, r, n);
}

// This block's share of a sum: of the numbers themselves ...
template <class W, class F> __device__ __forceinline__ void part_of(int64 n, W* parts, F f) {
  W sum = 0;
  for (int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (int64)gridDim.x * blockDim.x) sum += f(i);
  sum = block_reduce(sum, Sum(), (W)0);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}
// ... and the whole, by one block.
template <class W> __device__ __forceinline__ W whole_of(const W* parts, int count) {
  W sum = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
  return block_reduce(sum, Sum(), (W)0);
}

template <class T> __device__ void scale_unless_one(T* x, Wide<T> factor, int64 n) {
  const int K = Pack<T>::COUNT;
  if (factor == 1) return;
  for (int64 i = ((int64)blockIdx.x * blockDim.x + threadIdx.x) * K; i < n; i += (int64)gridDim.x * blockDim.x * K) {
    if (i + K <= n && packs(x, K)) {
      Some<Wide<T>, K> v = read_some<K>(x + i);
#pragma unroll
      for (int k = 0; k < K; k++) v.at[k] *= factor;
      write_some(x + i, v);
    } else {
      for (int64 k = i; k < i + K && k < n; k++) x[k] = write<T>(read(x[k]) * factor);
    }
  }
}

#define OF_TEAM(team, Team, THREADS, S, T)                                                                                              \
  extern "C" __global__ void __launch_bounds__(THREADS) cross_entropy_##team##_##S(const T* x, const int64* target, const T* weight, double smoothing,    \
                                                        WIDE_##S* loss, WIDE_##S* row_weight, WIDE_##S* kept, int64 rows, int n) { \
    cross_entropy<Team, T>(x, {target, weight, smoothing}, loss, row_weight, kept, rows, n);                                   \
  }                                                                                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS) cross_entropy_backward_##team##_##S(                                                              \
      const WIDE_##S* grad, const T* x, const WIDE_##S* kept, const int64* target, const T* weight, double smoothing,          \
      const WIDE_##S* spread, T* gx, int64 rows, int n) {                                                                      \
    cross_entropy_backward<Team, T>(grad, x, kept, {target, weight, smoothing}, spread, gx, rows, n);                          \
  }                                                                                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS) cross_entropy_step_##team##_##S(                                                                  \
      const T* x, const int64* target, const T* weight, double smoothing, const WIDE_##S* spread, const WIDE_##S* factor,      \
      WIDE_##S* loss, WIDE_##S* kept, T* gx, int64 rows, int n) {                                                              \
    cross_entropy_step<Team, T>(x, {target, weight, smoothing}, spread, factor, loss, kept, gx, rows, n);                      \
  }
#define DEFINE(S, T)                                                                                                           \
  OF_TEAM(warp, WarpTeam, 128, S, T)                                                                                                \
  OF_TEAM(block, BlockTeam, 1024, S, T)                                                                                              \
  extern "C" __global__ void row_weights_##S(const int64* target, const T* weight, WIDE_##S* row_weight, WIDE_##S* parts, int64 rows) { \
    part_of<WIDE_##S>(rows, parts, [&](int64 r) { return row_weight[r] = Labels<T>{target, weight, 0}.of_row(r); });           \
  }                                                                                                                            \
  extern "C" __global__ void one_over_##S(const WIDE_##S* parts, int count, WIDE_##S* factor) {                                \
    WIDE_##S sum = whole_of(parts, count);                                                                                     \
    if (threadIdx.x == 0) *factor = sum ? 1 / sum : (WIDE_##S)NAN;                                                             \
  }                                                                                                                            \
  extern "C" __global__ void sum_of_##S(const WIDE_##S* x, WIDE_##S* parts, int64 n) {                                         \
    part_of<WIDE_##S>(n, parts, [&](int64 i) { return x[i]; });                                                                \
  }                                                                                                                            \
  extern "C" __global__ void sum_times_##S(const WIDE_##S* parts, int count, const WIDE_##S* factor, T* sum) {                 \
    WIDE_##S all = whole_of(parts, count);                                                                                     \
    if (threadIdx.x == 0) *sum = write<T>(all * *factor);                                                                      \
  } \
  extern "C" __global__ void scale_unless_one_##S(T* x, const WIDE_##S* factor, int64 n) { scale_unless_one(x, *factor, n); }
FOR_FLOATS(DEFINE)
