// What cuDNN is told of masks: numbers that are added to scores, and what becomes of queries that see no key, for which cuDNN has
// no rule. Floor: the masks once, 4 bytes written for each of their elements.
#include "reduce.cuh"

const float LOWEST = -1e30f;  // as good as minus infinity, which cuDNN makes NaN of: exp of it is 0 beside any score

struct Least {
  __device__ __forceinline__ int operator()(int a, int b) const { return min(a, b); }
};
#define BESIDE(x) int64 x##_batch, int64 x##_head, int64 x##_query, int64 x##_key
#define PLACE(x) (b * x##_batch + h * x##_head + l * x##_query)

// A warp a row (batch, head, query) of the masks: its numbers, and the first key it leaves to be seen (`keys` where there is none).
template <class T>
__device__ void mask_row(const bool* allowed, BESIDE(allowed), const T* mask, BESIDE(mask), float* bias, int* first, int heads,
                         int queries, int keys, int64 rows) {
  int64 row = (int64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (row >= rows) return;
  int64 b = row / queries / heads, h = row / queries % heads, l = row % queries;
  int lane = threadIdx.x % 32, found = keys;
  for (int key = lane; key < keys; key += 32) {
    float number = mask ? read(mask[PLACE(mask) + key * mask_key]) : 0;
    bool seen = (!allowed || allowed[PLACE(allowed) + key * allowed_key]) && number != -INFINITY;
    if (seen && found == keys) found = key;
    bias[row * keys + key] = seen ? greater(number, LOWEST) : LOWEST;
  }
  found = warp_reduce(found, Least());
  if (lane == 0) first[row] = found;
}

// A thread a row of the result (batch, queries, heads, width), and of the statistics, that lie by heads: where the row has seen
// nothing it is zeros, and with statistics so large that its weights, computed anew, are zeros too.
template <class T>
__device__ void unseen(T* out, float* statistics, const int* first, int64 by_batch, int64 by_head, int64 by_query, int64 start,
                       int heads, int queries, int keys, int width, int64 rows) {
  int64 row = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  int64 b = row / queries / heads, h = row / queries % heads, l = row % queries;
  if (first[b * by_batch + h * by_head + l * by_query] <= min(start + l, (int64)keys - 1)) return;
  T* to = out + ((b * queries + l) * heads + h) * width;
  for (int i = 0; i < width; i++) to[i] = write<T>(0);
  if (statistics) statistics[row] = -LOWEST;
}

#define DEFINE(S, T)                                                                                                              \
  extern "C" __global__ void mask_##S(const bool* allowed, BESIDE(allowed), const T* mask, BESIDE(mask), float* bias, int* first, \
                                      int heads, int queries, int keys, int64 rows) {                                             \
    mask_row(allowed, allowed_batch, allowed_head, allowed_query, allowed_key, mask, mask_batch, mask_head, mask_query, mask_key, \
             bias, first, heads, queries, keys, rows);                                                                            \
  }                                                                                                                               \
  extern "C" __global__ void unseen_##S(T* out, float* statistics, const int* first, int64 by_batch, int64 by_head,               \
                                        int64 by_query, int64 start, int heads, int queries, int keys, int width, int64 rows) {   \
    unseen(out, statistics, first, by_batch, by_head, by_query, start, heads, queries, keys, width, rows);                        \
  }
FOR_FLOATS(DEFINE)
