// The gradients of a part scaled by feature and of its scale: 6 bytes an element in half precision.
#include "parts.cuh"

// A team has several rows; what they give to the scale's gradient its threads hold, and leave in `parts` unless that is null.
template <class Team, class T, int K, int HELD>
__device__ __forceinline__ void add_scaled_rows(const T* g, const T* part, const T* scale, T* gx, Wide<T>* parts, int64 rows, int n) {
  typedef Wide<T> W;
  W mine[HELD] = {};
  for (int64 r = Team::row(); r < rows; r += Team::count())
    walk<Team, K, HELD>(n, [&](int e, int i) {
      Some<W, K> v = read_some<K>(part + r * n + i), d = read_some<K>(g + r * n + i), w = read_some<K>(scale + i);
#pragma unroll
      for (int k = 0; k < K; k++) mine[e + k] += d.at[k] * v.at[k], v.at[k] = d.at[k] * w.at[k];
      write_some(gx + r * n + i, v);
    });
  if (parts) add_up<K>(Team(), mine, parts, n);
}
template <class Team, class T, int HELD>
__device__ void add_scaled_backward(const T* g, const T* part, const T* scale, T* gx, Wide<T>* parts, int64 rows, int n) {
  if (packs(g, n) && packs(part, n) && packs(scale, n) && packs(gx, n))
    add_scaled_rows<Team, T, Pack<T>::COUNT, HELD>(g, part, scale, gx, parts, rows, n);
  else
    add_scaled_rows<Team, T, 1, HELD>(g, part, scale, gx, parts, rows, n);
}

#define OF_TEAM(team, Team, HELD, THREADS, S, T) \
  extern "C" __global__ void __launch_bounds__(THREADS) add_scaled_backward_##team##_##S(const T* g, const T* part, const T* scale, T* gx, \
                                                                WIDE_##S* parts, int64 rows, int n) { \
    add_scaled_backward<Team, T, HELD>(g, part, scale, gx, parts, rows, n); \
  }
#define DEFINE(S, T) \
  OF_TEAM(warp, WarpTeam, Holds<T>::WARP, 256, S, T) \
  OF_TEAM(block, BlockTeam, Holds<T>::BLOCK, 512, S, T) \
  extern "C" __global__ void sum_parts_##S(const WIDE_##S* parts, WIDE_##S* sums, int count, int64 n) { \
    sum_parts(parts, sums, count, n); \
  }
FOR_FLOATS(DEFINE)
