// Products of matrices in tiles: C (m, n) = A (m, k) B (k, n) for each of a batch, sums in float (double for double).
//
// A block has a tile of C and goes along k: while it multiplies what lies in shared memory it reads what comes next into
// registers. Both operands are read by 16 bytes along whichever of their dimensions is contiguous. Each sum has one order,
// whatever the tile's size is, so a result does not depend on it. Where there are few tiles and many terms, each block has some of
// the terms, and what they come to is added in the order of the terms (matmul.cu's join).
#pragma once
#include "after.cuh"
#include "ptx.cuh"

// One operand of a product: x is its row (of A) or column (of B); one of the two strides is 1.
template <class T> struct Operand {
  const T* at;
  int64 by_x, by_k;
  int xs, ks;
  bool packed;  // whether 16 bytes may be read at once
  __device__ Operand(const T* start, int64 x_stride, int64 k_stride, int x_count, int k_count)
      : at(start), by_x(x_stride), by_k(k_stride), xs(x_count), ks(k_count) {
    packed = packs(start, along_k() ? x_stride : k_stride);
  }
  __device__ __forceinline__ bool along_k() const { return by_k == 1; }
  // COUNT elements from (x, k) on along the contiguous dimension; zeros beyond the ends
  __device__ __forceinline__ Pack<T> load(int x, int k) const {
    const int COUNT = Pack<T>::COUNT;
    const T* from = at + x * by_x + k * by_k;
    int room = along_k() ? (x < xs ? ks - k : 0) : (k < ks ? xs - x : 0);
    if (packed && room >= COUNT) return load_pack(from);
    Pack<T> some;
#pragma unroll
    for (int i = 0; i < COUNT; i++) some.at[i] = i < room ? from[i] : write<T>(0);
    return some;
  }
};

// A tile of X rows (or columns) and DEPTH terms on its way to shared memory [DEPTH][X + 4], for cores that multiply numbers.
template <class T, int X, int DEPTH, int THREADS> struct Slab {
  static const int COUNT = Pack<T>::COUNT, WIDTH = X + 4, SIZE = DEPTH * WIDTH, PACKS = X * DEPTH / COUNT / THREADS;
  Pack<T> held[PACKS];
  template <class From> __device__ __forceinline__ void load(const From& from, int x0, int k0) {
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
      int p = threadIdx.x + i * THREADS;
      if (from.along_k())
        held[i] = from.load(x0 + p / (DEPTH / COUNT), k0 + p % (DEPTH / COUNT) * COUNT);
      else
        held[i] = from.load(x0 + p % (X / COUNT) * COUNT, k0 + p / (X / COUNT));
    }
  }
  __device__ __forceinline__ void store(T* to, bool along_k) const {
#pragma unroll
    for (int i = 0; i < PACKS; i++) {
      int p = threadIdx.x + i * THREADS;
      if (along_k) {
        T* column = to + p % (DEPTH / COUNT) * COUNT * WIDTH + p / (DEPTH / COUNT);
#pragma unroll
        for (int j = 0; j < COUNT; j++) column[j * WIDTH] = held[i].at[j];
      } else {
        store_pack(to + p / (X / COUNT) * WIDTH + p % (X / COUNT) * COUNT, held[i]);
      }
    }
  }
};

// float and double: 256 threads as 16 by 16, each with SIDE x SIDE sums in groups of four, 64 apart.
template <class T, int SIDE> struct Tile {
  typedef T Sum;
  static const int X = 16 * SIDE, Y = X, THREADS = 256, DEPTH = 64 / sizeof(T);
  typedef Slab<T, X, DEPTH, THREADS> Part;
  struct Memory {
    T a[Part::SIZE], b[Part::SIZE];
  };
  T sums[SIDE][SIDE];
  __device__ __forceinline__ static int place(int thread, int i) { return i / 4 * 64 + thread * 4 + i % 4; }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < SIDE; i++)
#pragma unroll
      for (int j = 0; j < SIDE; j++) sums[i][j] = 0;
  }
  __device__ __forceinline__ void add(const Memory& memory, bool, bool) {
    int row = threadIdx.x / 16, column = threadIdx.x % 16;
#pragma unroll
    for (int k = 0; k < DEPTH; k++) {
      T a[SIDE], b[SIDE];
#pragma unroll
      for (int i = 0; i < SIDE; i++) {
        a[i] = memory.a[k * Part::WIDTH + place(row, i)];
        b[i] = memory.b[k * Part::WIDTH + place(column, i)];
      }
#pragma unroll
      for (int i = 0; i < SIDE; i++)
#pragma unroll
        for (int j = 0; j < SIDE; j++) sums[i][j] += a[i] * b[j];
    }
  }
  // f(row, column, sum) for what this thread has
  template <class F> __device__ __forceinline__ void each(F f) const {
#pragma unroll
    for (int i = 0; i < SIDE; i++)
#pragma unroll
      for (int j = 0; j < SIDE; j++) f(place(threadIdx.x / 16, i), place(threadIdx.x % 16, j), sums[i][j]);
  }
};

// A tile of half precision on its way to shared memory, where it lies as it did: [X][DEPTH + 8] where neighbours in k lie side by
// side, else [DEPTH][X + 8]. Rows are an odd number of 16 bytes long, so that ldmatrix reads eight of them without bank conflicts.
template <class T, int X, int DEPTH, int THREADS> struct HalfSlab : Slab<T, X, DEPTH, THREADS> {
  static const int COUNT = 8, ALONG_K = DEPTH + COUNT, ALONG_X = X + COUNT;
  static const int SIZE = X * ALONG_K > DEPTH * ALONG_X ? X * ALONG_K : DEPTH * ALONG_X;
  __device__ __forceinline__ void store(T* to, bool along_k) const {
    int packs = (along_k ? DEPTH : X) / COUNT, width = along_k ? ALONG_K : ALONG_X;
#pragma unroll
    for (int i = 0; i < this->PACKS; i++) {
      int p = threadIdx.x + i * THREADS;
      store_pack(to + p / packs * width + p % packs * COUNT, this->held[i]);
    }
  }
  // Fragments of the 16 x 16 numbers from (x, k) on, 8 x 8 each: the second is the next in x, the third that in k; of an operand
  // that mma has as its B (`second`) it is the other way round.
  static __device__ __forceinline__ void fragments(unsigned (&d)[4], const T* from, bool along_k, bool second, int x, int k) {
    int row = threadIdx.x % 8, one = threadIdx.x / 8 % 2 * 8, two = threadIdx.x / 16 % 2 * 8;
    x += second ? two : one;
    k += second ? one : two;
    if (along_k)
      load_matrices(d, from + (x + row) * ALONG_K + k);
    else
      load_matrices_turned(d, from + (k + row) * ALONG_X + x);
  }
};

// Half precision on tensor cores: DOWN x ACROSS warps, each with M x N products of 16 x 8.
template <class T, int DOWN, int ACROSS, int M, int N> struct TensorTile {
  typedef float Sum;
  static const int X = DOWN * M * 16, Y = ACROSS * N * 8, THREADS = 32 * DOWN * ACROSS, DEPTH = 32;
  static_assert(X == Y && N % 2 == 0, "both operands pass through slabs of one size, and B is read two fragments at once");
  typedef HalfSlab<T, X, DEPTH, THREADS> Part;
  struct Memory {
    alignas(16) T a[Part::SIZE];
    alignas(16) T b[Part::SIZE];
  };
  float sums[M][N][4];
  __device__ __forceinline__ static int first_row() { return threadIdx.x / 32 / ACROSS * M * 16; }
  __device__ __forceinline__ static int column() { return threadIdx.x / 32 % ACROSS * N * 8; }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < M; i++)
#pragma unroll
      for (int j = 0; j < N; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) sums[i][j][e] = 0;
  }
  __device__ __forceinline__ void add(const Memory& memory, bool a_along_k, bool b_along_k) {
#pragma unroll
    for (int k = 0; k < DEPTH; k += 16) {
      unsigned b[N][2];
#pragma unroll
      for (int j = 0; j < N; j += 2) {
        unsigned both[4];
        Part::fragments(both, memory.b, b_along_k, true, column() + j * 8, k);
#pragma unroll
        for (int e = 0; e < 4; e++) b[j + e / 2][e % 2] = both[e];
      }
#pragma unroll
      for (int i = 0; i < M; i++) {
        unsigned a[4];
        Part::fragments(a, memory.a, a_along_k, false, first_row() + i * 16, k);
#pragma unroll
        for (int j = 0; j < N; j++) tensor_product(sums[i][j], a, b[j], T());
      }
    }
  }
  template <class F> __device__ __forceinline__ void each(F f) const {
    int row = first_row() + threadIdx.x % 32 / 4;
#pragma unroll
    for (int i = 0; i < M; i++)
#pragma unroll
      for (int j = 0; j < N; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) f(row + i * 16 + e / 2 * 8, column() + j * 8 + threadIdx.x % 4 * 2 + e % 2, sums[i][j][e]);
  }
};

// The tiles of a dtype: small ones where large ones would leave processors without work.
template <class T> struct Tiles {
  typedef Tile<T, 4> Small;
  typedef Tile<T, 8> Large;
};
template <> struct Tiles<__half> {
  typedef TensorTile<__half, 2, 2, 2, 4> Small;
  typedef TensorTile<__half, 2, 4, 4, 4> Large;
};
template <> struct Tiles<__nv_bfloat16> {
  typedef TensorTile<__nv_bfloat16, 2, 2, 2, 4> Small;
  typedef TensorTile<__nv_bfloat16, 2, 4, 4, 4> Large;
};

// How a batch of products lies: strides in elements, of the batch's two dimensions, then of the matrix.
struct Lie {
  int64 outer, inner, by_x, by_k;
};
// the same as a kernel's parameters
#define LAID(x) int64 x##_outer, int64 x##_inner, int64 x##_by_x, int64 x##_by_k
#define LIE(x) Lie{x##_outer, x##_inner, x##_by_x, x##_by_k}

// Of the terms those from `begin` up to `end`, where the next block's begin, if it is not k: a multiple of Kind::DEPTH.
template <class Kind, class T, class Out>
__device__ void product(const T* a, Lie a_lies, const T* b, Lie b_lies, Out* c, int m, int n, int k, int inner, int begin, int end,
                        After<Out> after) {
  __shared__ typename Kind::Memory memory[2];
  int down = (m + Kind::X - 1) / Kind::X, across = (n + Kind::Y - 1) / Kind::Y;
  int64 index = blockIdx.x / (down * across);
  int tile = blockIdx.x % (down * across);
  // eight tiles down, then the next column: what blocks that run together read is shared in the cache
  int first = tile / (8 * across) * 8, high = min(8, down - first), in_group = tile - first * across;
  int x0 = (first + in_group % high) * Kind::X, y0 = in_group / high * Kind::Y;
  Operand<T> left(a + index / inner * a_lies.outer + index % inner * a_lies.inner, a_lies.by_x, a_lies.by_k, m, k);
  Operand<T> right(b + index / inner * b_lies.outer + index % inner * b_lies.inner, b_lies.by_x, b_lies.by_k, n, k);
  Kind sums;
  sums.clear();
  typename Kind::Part x, y;
  x.load(left, x0, begin);
  y.load(right, y0, begin);
  for (int k0 = begin, which = 0; k0 < end; k0 += Kind::DEPTH, which ^= 1) {
    x.store(memory[which].a, left.along_k());
    y.store(memory[which].b, right.along_k());
    __syncthreads();  // one is enough: what was read before it is written to again only after the next
    x.load(left, x0, k0 + Kind::DEPTH);
    y.load(right, y0, k0 + Kind::DEPTH);
    sums.add(memory[which], left.along_k(), right.along_k());
  }
  sums.each([&](int i, int j, typename Kind::Sum v) {
    if (x0 + i >= m || y0 + j >= n) return;
    int64 place = (index * m + x0 + i) * n + y0 + j;
    c[place] = write<Out>(after(v, place, y0 + j));
  });
}
