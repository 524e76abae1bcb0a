// Products with weights kept in fewer bits. A few rows read the weight as it lies: half a byte a number of int4 (and 2 a group), 1 of
// int8 (and 4 a group), 2 of bfloat16, which is the floor. For more rows the weight is widened once, which reads these bytes and
// writes sizeof(T) a number, and multiplied as others are.
#include "few.cuh"
#include "product.cuh"

// A weight (n, k) of int8, rows `apart` elements from one another, with one scale (n, groups) for every `group` terms of a row.
struct Scaled {
  const int8* at;
  int64 apart;
  const float* scales;
  int groups, group;
  template <class W> __device__ __forceinline__ void load(W (&to)[TERMS], int row, int k, int ks) const {
    const int8* from = at + row * apart + k;
    const float* scale = scales + (int64)row * groups;
    if (group % TERMS == 0 && reinterpret_cast<uint64>(from) % TERMS == 0 && k + TERMS <= ks) {
      int2 words = *reinterpret_cast<const int2*>(from);
      float shared = scale[k / group];
#pragma unroll
      for (int i = 0; i < TERMS; i++) to[i] = (float)(int8)((i < 4 ? words.x : words.y) >> i % 4 * 8) * shared;
    } else {
#pragma unroll
      for (int i = 0; i < TERMS; i++) to[i] = k + i < ks ? (float)from[i] * scale[(k + i) / group] : 0.f;
    }
  }
};

// A weight (n, k) of int4: two neighbours of a row share a byte, the earlier in its lower half, each with 8 added; rows `apart` bytes
// from one another. One bfloat16 scale for every `group` terms, a multiple of TERMS. A thread reads four bytes, not sixteen, at a time:
// so the sums have the order, and the results the bits, that they have with the widened weight.
struct Paired {
  const uint8* at;
  int64 apart;
  const __nv_bfloat16* scales;
  int groups, group;
  // The four bits become the highest of a fraction, 1 + n / 16, of which one operation makes (n - 8) * scale, exactly (a scale has
  // 8 significant bits): conversions of whole numbers would be the limit, not the memory.
  static __device__ __forceinline__ float number(unsigned fraction, float scale) {
    return fmaf(__uint_as_float((fraction & 0x780000u) | 0x3F800000u), 16.f * scale, -24.f * scale);
  }
  template <class W> __device__ __forceinline__ void load(W (&to)[TERMS], int row, int k, int ks) const {
    const uint8* from = at + row * apart + k / 2;
    float scale = read(scales[(int64)row * groups + k / group]);
    unsigned word = 0;
    if (reinterpret_cast<uint64>(from) % 4 == 0 && k + TERMS <= ks) {
      word = *reinterpret_cast<const unsigned*>(from);
    } else {
      for (int i = 0; i < TERMS / 2 && k + 2 * i < ks; i++) word |= (unsigned)from[i] << 8 * i;
    }
#pragma unroll
    for (int i = 0; i < TERMS; i++) {
      float some = number(4 * i < 19 ? word << (19 - 4 * i) : word >> (4 * i - 19), scale);
      to[i] = k + i < ks ? some : 0.f;
    }
  }
};

// The float weight, or the one that is nearest in T: to (n, k).
template <class T, class Weight> __device__ void widen(Weight weight, T* to, int n, int k) {
  int64 octets = (k + TERMS - 1) / TERMS, place = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (place >= n * octets) return;
  int row = place / octets, first = place % octets * TERMS;
  float numbers[TERMS];
  weight.load(numbers, row, first, k);
  T* at = to + (int64)row * k + first;
  if (packs(at, 0) && first + TERMS <= k) {
#pragma unroll
    for (int i = 0; i < TERMS; i += Pack<T>::COUNT) {
      Pack<T> some;
#pragma unroll
      for (int j = 0; j < Pack<T>::COUNT; j++) some.at[j] = write<T>(numbers[i + j]);
      store_pack(at + i, some);
    }
  } else {
    for (int i = 0; i < TERMS && first + i < k; i++) at[i] = write<T>(numbers[i]);
  }
}

// Terms of a group that are added in whole numbers: a group has `parts` such parts, of x with a scale each.
const int MOST = 1 << 16;

// One block a row of x (m, k) and part of it: whole numbers from -127 to 127, and what one of them stands for.
template <class T> __device__ void shorten(const T* x, int8* to, float* factors, int k, int groups, int group, int parts) {
  int64 row = blockIdx.x / (groups * parts);
  int part = blockIdx.x % (groups * parts);
  int64 first = (int64)(part / parts) * group + (int64)(part % parts) * MOST, last = (int64)(part / parts + 1) * group;
  int start = min(first, (int64)k), end = min(min(first + MOST, last), (int64)k);
  x += row * k, to += row * k;
  float most = 0;
  for (int i = start + threadIdx.x; i < end; i += blockDim.x) most = greater(fabsf((float)read(x[i])), most);
  most = block_reduce(most, Greatest(), 0.f);
  float scale = most / 127.f;
  bool finite = most < INFINITY, usable = finite && scale > 0;
  for (int i = start + threadIdx.x; i < end; i += blockDim.x) {
    float share = usable ? rintf((float)read(x[i]) / scale) : 0.f;
    to[i] = (int8)fminf(fmaxf(share, -127.f), 127.f);
  }
  if (threadIdx.x == 0) factors[row * groups * parts + part] = finite ? (usable ? scale : 1.f) : NAN;
}

// y (m, n) of x (m, k) and weight (n, k), both int8: each group is added in whole numbers, and the groups in order, in float.
// 64 x 64 results a block, 4 x 4 a thread; 64 terms at a time in shared memory, four to a word.
const int SIDE = 64, WORDS = 16, WIDTH = WORDS + 1;

__device__ __forceinline__ int four(const int8* row, int k, int end, bool whole) {
  if (whole && k + 4 <= end) return *reinterpret_cast<const int*>(row + k);
  unsigned word = 0;
  for (int i = 0; i < 4 && k + i < end; i++) word |= (unsigned)(uint8)row[k + i] << 8 * i;
  return (int)word;
}
__device__ __forceinline__ void fetch(int* to, const int8* from, int64 apart, int first, int rows, int k, int end) {
  bool whole = (reinterpret_cast<uint64>(from) | (uint64)apart | (uint64)k) % 4 == 0;
  for (int p = threadIdx.x; p < SIDE * WORDS; p += blockDim.x) {
    int row = p / WORDS, word = p % WORDS;
    to[row * WIDTH + word] = first + row < rows ? four(from + (first + row) * apart, k + word * 4, end, whole) : 0;
  }
}

template <class T>
__device__ void both(const int8* x, const float* factors, const int8* weight, int64 apart, const float* scales, T* y, int m, int n,
                     int k, int groups, int group, int parts, After<T> after) {
  __shared__ int a[SIDE * WIDTH], b[SIDE * WIDTH];
  int across = (n + SIDE - 1) / SIDE, x0 = blockIdx.x / across * SIDE, y0 = blockIdx.x % across * SIDE;
  int row = threadIdx.x / 16, column = threadIdx.x % 16;  // with what lies 16, 32 and 48 further
  float sums[4][4] = {};
  for (int start = 0; start < k;) {
    int g = start / group, among = g * parts + (start - g * group) / MOST;
    int end = min((int64)start + MOST, min((int64)(g + 1) * group, (int64)k));
    int part[4][4] = {};
    for (int at = start; at < end; at += 4 * WORDS) {
      __syncthreads();  // what came before has been read
      fetch(a, x, k, x0, m, at, end);
      fetch(b, weight, apart, y0, n, at, end);
      __syncthreads();
#pragma unroll
      for (int w = 0; w < WORDS; w++)
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
          for (int j = 0; j < 4; j++)
            part[i][j] = __dp4a(a[(row + 16 * i) * WIDTH + w], b[(column + 16 * j) * WIDTH + w], part[i][j]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) {
        int64 r = min(x0 + row + 16 * i, m - 1), c = min(y0 + column + 16 * j, n - 1);
        float share = __fmul_rn(__fmul_rn((float)part[i][j], scales[c * groups + g]), factors[r * groups * parts + among]);
        sums[i][j] = start ? __fadd_rn(sums[i][j], share) : share;
      }
    start = end;
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) {
      int r = x0 + row + 16 * i, c = y0 + column + 16 * j;
      int64 place = (int64)r * n + c;
      if (r < m && c < n) y[place] = write<T>(after(sums[i][j], place, c));
    }
}

#define BOTH(size, Size, S, T)                                                                                                \
  extern "C" __global__ void __launch_bounds__(Tiles<__nv_bfloat16>::Size::THREADS) both_bf16_##size##_##S(                   \
      const __nv_bfloat16* a, LAID(a), const __nv_bfloat16* b, LAID(b), T* c, int m, int n, int k, int inner, END(T)) {       \
    product<Tiles<__nv_bfloat16>::Size>(a, LIE(a), b, LIE(b), c, m, n, k, inner, 0, k,                                        \
                                        After<T>{bias, scale, shift, residual, activation});                                  \
  }
#define FEW(rows, S, T)                                                                                                       \
  extern "C" __global__ void few_int8_##rows##_##S(const T* x, const int8* weight, int64 apart, const float* scales,          \
                                                   int groups, int group, T* y, int m, int n, int k, END(T)) {                \
    few_rows<rows>(x, Scaled{weight, apart, scales, groups, group}, y, m, n, k,                                               \
                   After<T>{bias, scale, shift, residual, activation});                                                       \
  }                                                                                                                           \
  extern "C" __global__ void few_int4_##rows##_##S(const T* x, const uint8* weight, int64 apart, const __nv_bfloat16* scales, \
                                                   int groups, int group, T* y, int m, int n, int k, END(T)) {                \
    few_rows<rows>(x, Paired{weight, apart, scales, groups, group}, y, m, n, k,                                               \
                   After<T>{bias, scale, shift, residual, activation});                                                       \
  }                                                                                                                           \
  extern "C" __global__ void few_bf16_##rows##_##S(const T* x, const __nv_bfloat16* weight, int64 apart, T* y, int m, int n,  \
                                                   int k, END(T)) {                                                           \
    few_rows<rows>(x, Rows<__nv_bfloat16>{weight, apart}, y, m, n, k, After<T>{bias, scale, shift, residual, activation});    \
  }
#define DEFINE(S, T)                                                                                                          \
  FEW(1, S, T)                                                                                                                \
  FEW(2, S, T)                                                                                                                \
  FEW(4, S, T)                                                                                                                \
  FEW(8, S, T)                                                                                                                \
  BOTH(small, Small, S, T)                                                                                                    \
  BOTH(large, Large, S, T)                                                                                                            \
  extern "C" __global__ void widen_int8_##S(const int8* weight, int64 apart, const float* scales, int groups, int group,      \
                                            T* to, int n, int k) {                                                            \
    widen(Scaled{weight, apart, scales, groups, group}, to, n, k);                                                            \
  }                                                                                                                           \
  extern "C" __global__ void widen_int4_##S(const uint8* weight, int64 apart, const __nv_bfloat16* scales, int groups,        \
                                            int group, T* to, int n, int k) {                                                 \
    widen(Paired{weight, apart, scales, groups, group}, to, n, k);                                                            \
  }                                                                                                                           \
  extern "C" __global__ void widen_bf16_##S(const __nv_bfloat16* weight, int64 apart, T* to, int n, int k) {                  \
    widen(Rows<__nv_bfloat16>{weight, apart}, to, n, k);                                                                      \
  }                                                                                                                           \
  extern "C" __global__ void shorten_##S(const T* x, int8* to, float* factors, int k, int groups, int group, int parts) {     \
    shorten(x, to, factors, k, groups, group, parts);                                                                         \
  }                                                                                                                           \
  extern "C" __global__ void both_int8_##S(const int8* x, const float* factors, const int8* weight, int64 apart,              \
                                           const float* scales, T* y, int m, int n, int k, int groups, int group, int parts,  \
                                           END(T)) {                                                                          \
    both(x, factors, weight, apart, scales, y, m, n, k, groups, group, parts,                                                 \
         After<T>{bias, scale, shift, residual, activation});                                                                 \
  }
FOR_FLOATS(DEFINE)
