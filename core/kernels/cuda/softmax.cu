// Softmax and its logarithm, forward and back. The last axis: a team a row, which is read twice (the second time from the
// cache) and written once, 16 bytes at once wherever it begins. Another axis: a thread a column, neighbours reading neighbours.
#include "total.cuh"

template <class Team, class T, bool LOG> __device__ void softmax_row(const T* x, T* y, int64 rows, int n) {
  typedef Wide<T> W;
  if (Team::row() >= rows) return;
  x += Team::row() * n;
  y += Team::row() * n;
  Total<W> mine, all;
  walk_from<Team>(x, n, true, [&](auto width, int i) { mine.add(read_some<width.COUNT>(x + i)); });
  all.most = Team::reduce(mine.most, Greatest(), (W)-INFINITY);
  all.sum = Team::reduce(mine.scaled_to(all.most), Sum(), (W)0);
  walk_from<Team>(x, n, alike(x, y), [&](auto width, int i) {
    auto v = read_some<width.COUNT>(x + i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++) v.at[k] = LOG ? all.log_softmax(v.at[k]) : all.softmax(v.at[k]);
    write_some(y + i, v);
  });
}

// y is softmax's result: grad - sum(grad) over ..., each times y; of the logarithm: grad - exp(y) * sum(grad).
template <class Team, class T, bool LOG> __device__ void softmax_backward_row(const T* g, const T* y, T* gx, int64 rows, int n) {
  typedef Wide<T> W;
  if (Team::row() >= rows) return;
  int64 at = Team::row() * n;
  g += at, y += at, gx += at;
  W sum = 0;
  walk_from<Team>(g, n, alike(g, y), [&](auto width, int i) {
    auto v = read_some<width.COUNT>(g + i);
    if constexpr (LOG) {
#pragma unroll
      for (int k = 0; k < width.COUNT; k++) sum += v.at[k];
    } else {
      auto p = read_some<width.COUNT>(y + i);
#pragma unroll
      for (int k = 0; k < width.COUNT; k++) sum += v.at[k] * p.at[k];
    }
  });
  sum = Team::reduce(sum, Sum(), (W)0);
  walk_from<Team>(g, n, alike(g, y) && alike(g, gx), [&](auto width, int i) {
    auto v = read_some<width.COUNT>(g + i), p = read_some<width.COUNT>(y + i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++)
      v.at[k] = LOG ? v.at[k] - exponential(p.at[k]) * sum : v.at[k] * p.at[k] - p.at[k] * sum;
    write_some(gx + i, v);
  });
}

template <class T, bool LOG> __device__ void softmax_column(const T* x, T* y, int64 columns, int n, int64 inner) {
  typedef Wide<T> W;
  int64 column = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  int64 at = column / inner * n * inner + column % inner;
  Total<W> all;
  for (int i = 0; i < n; i++) all.add(read(x[at + i * inner]));
  for (int i = 0; i < n; i++) {
    W v = read(x[at + i * inner]);
    y[at + i * inner] = write<T>(LOG ? all.log_softmax(v) : all.softmax(v));
  }
}

template <class T, bool LOG>
__device__ void softmax_backward_column(const T* g, const T* y, T* gx, int64 columns, int n, int64 inner) {
  typedef Wide<T> W;
  int64 column = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  int64 at = column / inner * n * inner + column % inner;
  W sum = 0;
  for (int i = 0; i < n; i++) sum += LOG ? read(g[at + i * inner]) : read(g[at + i * inner]) * read(y[at + i * inner]);
  for (int i = 0; i < n; i++) {
    W v = read(g[at + i * inner]), p = read(y[at + i * inner]);
    gx[at + i * inner] = write<T>(LOG ? v - exponential(p) * sum : v * p - p * sum);
  }
}

// An array that goes with rows (a, b, c) of numbers: its strides, 0 where it has one number for all. Null goes with every row.
template <class T> struct Beside {
  const T* p;
  int64 a, b, c, along;
  __device__ __forceinline__ Beside of_row(int64 r, int64 bs, int64 cs) const {
    Beside row = *this;
    if (p) row.p += r / (bs * cs) * a + r / cs % bs * b + r % cs * c;
    return row;
  }
  __device__ __forceinline__ T at(int i, T otherwise) const { return p ? p[i * along] : otherwise; }
};

// softmax(x * scale + mask) among the allowed, over x itself; a row that may look nowhere gives 0.
template <class Team, class T>
__device__ void attention_weights(T* x, double by, Beside<bool> allowed, Beside<T> mask, int64 rows, int64 bs, int64 cs, int n) {
  typedef Wide<T> W;
  if (Team::row() >= rows) return;
  T* row = x + Team::row() * n;
  allowed = allowed.of_row(Team::row(), bs, cs), mask = mask.of_row(Team::row(), bs, cs);
  W scale = by;
  auto score = [&](W v, int i) {
    v *= scale;
    if (mask.p) v += read(mask.at(i, T()));
    return allowed.at(i, true) ? v : (W)-INFINITY;
  };
  Total<W> mine, all;
  auto scores = [&](auto width, int i) {
    auto v = read_some<width.COUNT>(row + i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++) v.at[k] = score(v.at[k], i + k);
    return v;
  };
  walk_from<Team>(row, n, true, [&](auto width, int i) { mine.add(scores(width, i)); });
  all.most = Team::reduce(mine.most, Greatest(), (W)-INFINITY);
  all.sum = Team::reduce(mine.scaled_to(all.most), Sum(), (W)0);
  bool none = all.most == (W)-INFINITY;
  walk_from<Team>(row, n, true, [&](auto width, int i) {
    auto v = scores(width, i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++) v.at[k] = none ? (W)0 : all.softmax(v.at[k]);
    write_some(row + i, v);
  });
}

// (d g - w sum(d g)) * scale over g itself: d are the weights w after their dropout.
template <class Team, class T>
__device__ void attention_weights_backward(T* g, const T* w, const T* d, double scale, int64 rows, int n) {
  typedef Wide<T> W;
  if (Team::row() >= rows) return;
  int64 at = Team::row() * n;
  g += at, w += at, d += at;
  W sum = 0;
  bool packed = alike(g, w) && alike(g, d);
  walk_from<Team>(g, n, packed, [&](auto width, int i) {
    auto v = read_some<width.COUNT>(g + i), left = read_some<width.COUNT>(d + i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++) sum += v.at[k] * left.at[k];
  });
  sum = Team::reduce(sum, Sum(), (W)0);
  walk_from<Team>(g, n, packed, [&](auto width, int i) {
    auto v = read_some<width.COUNT>(g + i), left = read_some<width.COUNT>(d + i), p = read_some<width.COUNT>(w + i);
#pragma unroll
    for (int k = 0; k < width.COUNT; k++) v.at[k] = (v.at[k] * left.at[k] - p.at[k] * sum) * (W)scale;
    write_some(g + i, v);
  });
}

#define OF_ATTENTION(team, Team, S, T)                                                                                     \
  extern "C" __global__ void attention_weights_##team##_##S(                                                               \
      T* x, double scale, const bool* allowed, int64 allowed_a, int64 allowed_b, int64 allowed_c, int64 allowed_along,     \
      const T* mask, int64 mask_a, int64 mask_b, int64 mask_c, int64 mask_along, int64 rows, int64 bs, int64 cs, int n) {  \
    attention_weights<Team, T>(x, scale, {allowed, allowed_a, allowed_b, allowed_c, allowed_along},                        \
                               {mask, mask_a, mask_b, mask_c, mask_along}, rows, bs, cs, n);                               \
  }                                                                                                                        \
  extern "C" __global__ void attention_weights_backward_##team##_##S(T* g, const T* w, const T* d, double scale, int64 rows, int n) { \
    attention_weights_backward<Team, T>(g, w, d, scale, rows, n);                                                          \
  }
#define ENTRIES(name, LOG, S, T)                                                                                           \
  extern "C" __global__ void name##_warp_##S(const T* x, T* y, int64 rows, int n) { softmax_row<WarpTeam, T, LOG>(x, y, rows, n); }   \
  extern "C" __global__ void name##_block_##S(const T* x, T* y, int64 rows, int n) { softmax_row<BlockTeam, T, LOG>(x, y, rows, n); } \
  extern "C" __global__ void name##_column_##S(const T* x, T* y, int64 columns, int n, int64 inner) {                      \
    softmax_column<T, LOG>(x, y, columns, n, inner);                                                                       \
  }                                                                                                                        \
  extern "C" __global__ void name##_backward_warp_##S(const T* g, const T* y, T* gx, int64 rows, int n) {                  \
    softmax_backward_row<WarpTeam, T, LOG>(g, y, gx, rows, n);                                                             \
  }                                                                                                                        \
  extern "C" __global__ void name##_backward_block_##S(const T* g, const T* y, T* gx, int64 rows, int n) {                 \
    softmax_backward_row<BlockTeam, T, LOG>(g, y, gx, rows, n);                                                            \
  }                                                                                                                        \
  extern "C" __global__ void name##_backward_column_##S(const T* g, const T* y, T* gx, int64 columns, int n, int64 inner) { \
    softmax_backward_column<T, LOG>(g, y, gx, columns, n, inner);                                                          \
  }
#define DEFINE(S, T)                   \
  ENTRIES(softmax, false, S, T)        \
  ENTRIES(log_softmax, true, S, T)     \
  OF_ATTENTION(warp, WarpTeam, S, T)   \
  OF_ATTENTION(block, BlockTeam, S, T)
FOR_FLOATS(DEFINE)
