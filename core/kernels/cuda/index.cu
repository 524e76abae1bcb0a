// Rows added up by their numbers: the backward of an embedding. The numbers are sorted once (stable), so equal ones lie in runs;
// a thread adds up a pack of columns over CHUNK sorted places. A run inside a chunk is written at once; of one that goes on, each
// chunk leaves a part, and add_runs adds up the parts. One order of sums, no atomics; values are read once.
#include "held.cuh"

const int CHUNK = 32;

struct Runs {
  const int64 *row, *from;  // of each sorted place: the row it belongs to, and the place of its value
  int64 count;
  // whether a run goes on over the border before place p
  __device__ __forceinline__ bool crosses(int64 p) const { return p > 0 && p < count && row[p - 1] == row[p]; }
};

// parts (chunks, 2, columns): what a chunk has of the run that began before it, and of the one that goes on behind it.
template <class T, int K> __device__ void add_chunk(Runs runs, const T* values, T* out, Wide<T>* parts, int64 columns) {
  typedef Wide<T> W;
  int64 t = ((int64)blockIdx.x * blockDim.x + threadIdx.x), chunk = t / (columns / K), column = t % (columns / K) * K;
  int64 first = chunk * CHUNK, last = first + CHUNK < runs.count ? first + CHUNK : runs.count;
  if (first >= runs.count) return;
  Some<W, K> sum = filled<K>((W)0);
  bool begun = runs.crosses(first);  // the run began in an earlier chunk
  for (int64 p = first; p < last; p++) {
    Some<W, K> v = read_some<K>(values + runs.from[p] * columns + column);
#pragma unroll
    for (int k = 0; k < K; k++) sum.at[k] += v.at[k];
    bool goes_on = runs.crosses(p + 1);
    if (goes_on && p + 1 < last) continue;
    if (begun || goes_on)
      write_some(parts + (2 * chunk + (begun ? 0 : 1)) * columns + column, sum);
    else
      write_some(out + runs.row[p] * columns + column, sum);
    sum = filled<K>((W)0), begun = false;
  }
}

template <class T, int K> __device__ void add_runs(Runs runs, const Wide<T>* parts, T* out, int64 columns) {
  typedef Wide<T> W;
  int64 t = ((int64)blockIdx.x * blockDim.x + threadIdx.x), chunk = t / (columns / K), column = t % (columns / K) * K;
  int64 end = (chunk + 1) * CHUNK;  // the place behind the chunk
  if (!runs.crosses(end)) return;
  int64 row = runs.row[end], start = chunk * CHUNK;
  if (runs.row[start] == row && runs.crosses(start)) return;  // it began earlier: that chunk's threads add it up
  Some<W, K> sum = read_some<K>(parts + (2 * chunk + 1) * columns + column);
  while (true) {
    chunk++;
    Some<W, K> v = read_some<K>(parts + 2 * chunk * columns + column);
#pragma unroll
    for (int k = 0; k < K; k++) sum.at[k] += v.at[k];
    end += CHUNK;
    if (!runs.crosses(end) || runs.row[end] != row) break;
  }
  write_some(out + row * columns + column, sum);
}

#define DEFINE(S, T)                                                                                                          \
  extern "C" __global__ void add_chunk_packs_##S(const int64* row, const int64* from, int64 count, const T* values, T* out,   \
                                                 WIDE_##S* parts, int64 columns) {                                            \
    add_chunk<T, Pack<T>::COUNT>({row, from, count}, values, out, parts, columns);                                            \
  }                                                                                                                           \
  extern "C" __global__ void add_chunk_singles_##S(const int64* row, const int64* from, int64 count, const T* values, T* out, \
                                                   WIDE_##S* parts, int64 columns) {                                          \
    add_chunk<T, 1>({row, from, count}, values, out, parts, columns);                                                         \
  }                                                                                                                           \
  extern "C" __global__ void add_runs_packs_##S(const int64* row, const int64* from, int64 count, const WIDE_##S* parts,      \
                                                T* out, int64 columns) {                                                      \
    add_runs<T, Pack<T>::COUNT>({row, from, count}, parts, out, columns);                                                     \
  }                                                                                                                           \
  extern "C" __global__ void add_runs_singles_##S(const int64* row, const int64* from, int64 count, const WIDE_##S* parts,    \
                                                  T* out, int64 columns) {                                                    \
    add_runs<T, 1>({row, from, count}, parts, out, columns);                                                                  \
  }
FOR_FLOATS(DEFINE)
