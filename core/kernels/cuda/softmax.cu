// Softmax and its logarithm, forward and back. The last axis: a team a row, which is read twice (the second time from the
// cache) and written once. Another axis: a thread a column, neighbours reading neighbours.
#include "total.cuh"

template <class Team, class T, bool LOG> __device__ void softmax_row(const T* x, T* y, int64 rows, int n) {
  typedef Wide<T> W;
  if (Team::row() >= rows) return;
  x += Team::row() * n;
  y += Team::row() * n;
  bool packed = packs(x, n) && packs(y, n);
  Total<W> mine;
  each_of_row<Team>(x, n, packed, [&](int, W v) { mine.add(v); });
  Total<W> all;
  all.most = Team::reduce(mine.most, Greatest(), (W)-INFINITY);
  all.sum = Team::reduce(mine.scaled_to(all.most), Sum(), (W)0);
  map_row<Team>(x, y, n, packed, [&](W v, int) { return LOG ? all.log_softmax(v) : all.softmax(v); });
}

// y is softmax's result: grad - sum(grad) over ..., each times y; of the logarithm: grad - exp(y) * sum(grad).
template <class Team, class T, bool LOG> __device__ void softmax_backward_row(const T* g, const T* y, T* gx, int64 rows, int n) {
  typedef Wide<T> W;
  if (Team::row() >= rows) return;
  int64 at = Team::row() * n;
  g += at, y += at, gx += at;
  bool packed = packs(g, n) && packs(gx, n);
  W sum = 0;
  each_of_row<Team>(g, n, packed, [&](int i, W v) { sum += LOG ? v : v * read(y[i]); });
  sum = Team::reduce(sum, Sum(), (W)0);
  map_row<Team>(g, gx, n, packed, [&](W v, int i) {
    W p = read(y[i]);
    return LOG ? v - exponential(p) * sum : v * p - p * sum;
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
  bool packed = packs(row, n);
  each_of_row<Team>(row, n, packed, [&](int i, W v) { mine.add(score(v, i)); });
  all.most = Team::reduce(mine.most, Greatest(), (W)-INFINITY);
  all.sum = Team::reduce(mine.scaled_to(all.most), Sum(), (W)0);
  bool none = all.most == (W)-INFINITY;
  map_row<Team>(row, row, n, packed, [&](W v, int i) { return none ? (W)0 : all.softmax(score(v, i)); });
}

// (d g - w sum(d g)) * scale over g itself: d are the weights w after their dropout.
template <class Team, class T>
__device__ void attention_weights_backward(T* g, const T* w, const T* d, double scale, int64 rows, int n) {
  typedef Wide<T> W;
  if (Team::row() >= rows) return;
  int64 at = Team::row() * n;
  g += at, w += at, d += at;
  bool packed = packs(g, n);
  W sum = 0;
  each_of_row<Team>(g, n, packed, [&](int i, W v) { sum += v * read(d[i]); });
  sum = Team::reduce(sum, Sum(), (W)0);
  map_row<Team>(g, g, n, packed, [&](W v, int i) { return (v * read(d[i]) - read(w[i]) * sum) * (W)scale; });
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
