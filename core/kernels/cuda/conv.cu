// Convolutions where no library computes them: products in tiles (product.cuh) whose one side is gathered from the picture
// while it is read, so that windows are never written out. With one channel a group there is nothing to multiply in tiles: a
// thread sums a window. Space has three dimensions; missing ones have size 1.
// Floor: input, weight and result once through memory; half precision multiplies on tensor cores.
#include "product.cuh"
#include "reduce.cuh"

// Sizes along the three dimensions, from a table of 18 numbers.
struct Geometry {
  int size[3], kernel[3], stride[3], dilation[3], before[3], out[3];
  __device__ Geometry(const int* table) {
#pragma unroll
    for (int d = 0; d < 3; d++) {
      size[d] = table[d], kernel[d] = table[3 + d], stride[d] = table[6 + d];
      dilation[d] = table[9 + d], before[d] = table[12 + d], out[d] = table[15 + d];
    }
  }
  __device__ __forceinline__ int taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  __device__ __forceinline__ int space() const { return size[0] * size[1] * size[2]; }
  __device__ __forceinline__ int outs() const { return out[0] * out[1] * out[2]; }
};

// A place in a box of three sizes, from its number.
struct Place {
  int at[3];
  __device__ __forceinline__ Place(int number, const int (&size)[3]) {
    at[2] = number % size[2];
    at[1] = number / size[2] % size[1];
    at[0] = number / (size[2] * size[1]);
  }
};
__device__ __forceinline__ int number_of(const int (&at)[3], const int (&size)[3]) { return (at[0] * size[1] + at[1]) * size[2] + at[2]; }

// Where window `o` looks with tap `t`: a number of the input, or -1 in the zeros around it.
__device__ __forceinline__ int looked_at(const Geometry& g, const Place& o, const Place& t) {
  int at[3];
#pragma unroll
  for (int d = 0; d < 3; d++) {
    at[d] = o.at[d] * g.stride[d] + t.at[d] * g.dilation[d] - g.before[d];
    if (at[d] < 0 || at[d] >= g.size[d]) return -1;
  }
  return number_of(at, g.size);
}
// The window that looks at place `p` of the input with tap `t`: a number of the result, or -1 where there is none.
__device__ __forceinline__ int looking(const Geometry& g, const Place& p, const Place& t) {
  int at[3];
#pragma unroll
  for (int d = 0; d < 3; d++) {
    int from = p.at[d] + g.before[d] - t.at[d] * g.dilation[d];
    at[d] = from / g.stride[d];
    if (from < 0 || from % g.stride[d] || at[d] >= g.out[d]) return -1;
  }
  return number_of(at, g.out);
}

// Neighbours one after another through boxes of three sizes that follow each other: pictures, or the taps of channels.
struct Walk : Place {
  int box, number;  // which box, and where in it
  __device__ __forceinline__ Walk(int n, int space, const int (&size)[3]) : Place(n % space, size), box(n / space), number(n % space) {}
  __device__ __forceinline__ void step(const int (&size)[3]) {
    number++;
    if (++at[2] < size[2]) return;
    at[2] = 0;
    if (++at[1] < size[1]) return;
    at[1] = 0;
    if (++at[0] < size[0]) return;
    at[0] = number = 0;
    box++;
  }
};

// A side of a product that is gathered: one of its indices walks through boxes, of the other `about` makes what tells the element
// at each step. `along_k`: whether it is the terms that are walked through.
template <class T, bool ALONG_K, class About> struct Gathered {
  int xs, ks, space;
  const int (&size)[3];
  About about;
  __device__ __forceinline__ bool along_k() const { return ALONG_K; }
  __device__ __forceinline__ Pack<T> load(int x, int k) const {
    int from = ALONG_K ? k : x, room = ALONG_K ? (x < xs ? ks - k : 0) : (k < ks ? xs - x : 0);
    auto element = about(ALONG_K ? x : k);
    Walk at(from, space, size);
    Pack<T> some;
#pragma unroll
    for (int i = 0; i < Pack<T>::COUNT; i++) {
      some.at[i] = i < room ? element(at) : write<T>(0);
      at.step(size);
    }
    return some;
  }
};
template <class T, bool ALONG_K, class About>
__device__ __forceinline__ Gathered<T, ALONG_K, About> gathered(int xs, int ks, int space, const int (&size)[3], About about) {
  return Gathered<T, ALONG_K, About>{xs, ks, space, size, about};
}

// take(row, column, sum) for the tile at (x0, y0), of the terms from `first` up to `end`.
template <class Kind, class A, class B, class F>
__device__ __forceinline__ void tile_of(const A& a, const B& b, int x0, int y0, int first, int end, F take) {
  __shared__ typename Kind::Memory memory[2];
  Kind sums;
  sums.clear();
  typename Kind::Part x, y;
  for (int k0 = first, which = 0; k0 < end; k0 += Kind::DEPTH, which ^= 1) {
    x.load(a, x0, k0);
    y.load(b, y0, k0);
    x.store(memory[which].a, a.along_k());
    y.store(memory[which].b, b.along_k());
    __syncthreads();  // one is enough: what was read before it is written to again only after the next
    sums.add(memory[which], a.along_k(), b.along_k());
  }
  sums.each([&](int i, int j, typename Kind::Sum v) {
    if (x0 + i < a.xs && y0 + j < b.xs) take(x0 + i, y0 + j, v);
  });
}

// (outs of a group) x (all windows of all pictures), terms: channels and taps. Grid: tiles, groups.
template <class T>
__device__ void forward(const T* x, const T* w, T* y, const int* table, int n, int groups, int outs, int inner, After<T> after) {
  typedef typename Tiles<T>::Small Kind;
  Geometry g(table);
  int group = blockIdx.y, taps = g.taps(), windows = g.outs(), space = g.space(), terms = inner * taps, columns = n * windows;
  int across = (columns + Kind::Y - 1) / Kind::Y;
  Operand<T> left(w + (int64)group * outs * terms, terms, 1, outs, terms);
  auto right = gathered<T, false>(columns, terms, windows, g.out, [&](int k) {
    Place tap(k % taps, g.kernel);
    int channel = group * inner + k / taps;
    return [&, tap, channel](const Walk& window) {
      int at = looked_at(g, window, tap);
      return at < 0 ? write<T>(0) : x[((int64)window.box * groups * inner + channel) * space + at];
    };
  });
  tile_of<Kind>(left, right, (int)(blockIdx.x / across) * Kind::X, (int)(blockIdx.x % across) * Kind::Y, 0, terms,
                [&](int o, int j, Wide<T> v) {
                  int channel = group * outs + o;
                  int64 place = ((int64)(j / windows) * groups * outs + channel) * windows + j % windows;
                  y[place] = write<T>(after(v, place, channel));
                });
}

// (channels of a group) x (all places of all pictures), terms: outs and taps.
template <class T>
__device__ void input_grad(const T* gy, const T* w, T* gx, const int* table, int n, int groups, int outs, int inner) {
  typedef typename Tiles<T>::Small Kind;
  Geometry g(table);
  int group = blockIdx.y, taps = g.taps(), windows = g.outs(), space = g.space(), terms = outs * taps, columns = n * space;
  int across = (columns + Kind::Y - 1) / Kind::Y;
  const T* weight = w + (int64)group * outs * inner * taps;
  auto left = gathered<T, true>(inner, terms, taps, g.kernel, [&](int c) {
    return [&, c](const Walk& tap) { return weight[((int64)tap.box * inner + c) * taps + tap.number]; };
  });
  auto right = gathered<T, false>(columns, terms, space, g.size, [&](int k) {
    Place tap(k % taps, g.kernel);
    int channel = group * outs + k / taps;
    return [&, tap, channel](const Walk& place) {
      int at = looking(g, place, tap);
      return at < 0 ? write<T>(0) : gy[((int64)place.box * groups * outs + channel) * windows + at];
    };
  });
  tile_of<Kind>(left, right, (int)(blockIdx.x / across) * Kind::X, (int)(blockIdx.x % across) * Kind::Y, 0, terms,
                [&](int c, int j, Wide<T> v) {
                  gx[(((int64)(j / space) * groups + group) * inner + c) * space + j % space] = write<T>(v);
                });
}

// (outs of a group) x (channels and taps), terms: all windows of all pictures, in stretches that have sums of their own. Grid:
// tiles, groups, stretches. sums: (stretches, groups * outs, inner * taps).
template <class T>
__device__ void weight_grad(const T* gy, const T* x, Wide<T>* sums, const int* table, int n, int groups, int outs, int inner,
                            int stretch) {
  typedef typename Tiles<T>::Small Kind;
  Geometry g(table);
  int group = blockIdx.y, taps = g.taps(), windows = g.outs(), space = g.space(), columns = inner * taps;
  int across = (columns + Kind::Y - 1) / Kind::Y, first = blockIdx.z * stretch, end = min(n * windows, first + stretch);
  auto left = gathered<T, true>(outs, end, windows, g.out, [&](int o) {
    int channel = group * outs + o;
    return [&, channel](const Walk& window) { return gy[((int64)window.box * groups * outs + channel) * windows + window.number]; };
  });
  auto right = gathered<T, true>(columns, end, windows, g.out, [&](int j) {
    Place tap(j % taps, g.kernel);
    int channel = group * inner + j / taps;
    return [&, tap, channel](const Walk& window) {
      int at = looked_at(g, window, tap);
      return at < 0 ? write<T>(0) : x[((int64)window.box * groups * inner + channel) * space + at];
    };
  });
  sums += (int64)blockIdx.z * groups * outs * columns;
  tile_of<Kind>(left, right, (int)(blockIdx.x / across) * Kind::X, (int)(blockIdx.x % across) * Kind::Y, first, end,
                [&](int o, int j, Wide<T> v) { sums[((int64)group * outs + o) * columns + j] = v; });
}

// One channel a group: a thread a result. `outs` results come from each channel.
template <class T>
__device__ void depthwise(const T* x, const T* w, T* y, const int* table, int groups, int outs, int64 count, After<T> after) {
  int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Geometry g(table);
  int windows = g.outs(), taps = g.taps(), channel = i / windows % (groups * outs);
  const T* plane = x + (i / windows / (groups * outs) * groups + channel / outs) * g.space();
  Place o(i % windows, g.out);
  Wide<T> sum = 0;
  for (int t = 0; t < taps; t++) {
    int at = looked_at(g, o, Place(t, g.kernel));
    if (at >= 0) sum += read(plane[at]) * read(w[(int64)channel * taps + t]);
  }
  y[i] = write<T>(after(sum, i, channel));
}

template <class T>
__device__ void depthwise_input_grad(const T* gy, const T* w, T* gx, const int* table, int groups, int outs, int64 count) {
  int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Geometry g(table);
  int space = g.space(), windows = g.outs(), taps = g.taps();
  int64 plane = i / space * outs;
  Place p(i % space, g.size);
  Wide<T> sum = 0;
  for (int o = 0; o < outs; o++)
    for (int t = 0; t < taps; t++) {
      int at = looking(g, p, Place(t, g.kernel));
      if (at >= 0) sum += read(gy[(plane + o) * windows + at]) * read(w[((i / space % groups) * outs + o) * taps + t]);
    }
  gx[i] = write<T>(sum);
}

// A block a tap of a channel: the sum over all pictures and windows. Grid: channels, taps.
template <class T>
__device__ void depthwise_weight_grad(const T* gy, const T* x, Wide<T>* sums, const int* table, int n, int groups, int outs) {
  Geometry g(table);
  int windows = g.outs(), channel = blockIdx.x, channels = groups * outs;
  Place t(blockIdx.y, g.kernel);
  Wide<T> sum = 0;
  for (int64 i = threadIdx.x; i < (int64)n * windows; i += blockDim.x) {
    int at = looked_at(g, Place(i % windows, g.out), t);
    int64 picture = i / windows;
    if (at >= 0) sum += read(gy[(picture * channels + channel) * windows + i % windows]) *
                        read(x[(picture * groups + channel / outs) * g.space() + at]);
  }
  sum = block_reduce(sum, Sum(), (Wide<T>)0);
  if (threadIdx.x == 0) sums[(int64)channel * gridDim.y + blockIdx.y] = sum;
}

#define BOUNDS(T) __launch_bounds__(Tiles<T>::Small::THREADS)
#define DEFINE(S, T)                                                                                                          \
  extern "C" __global__ void BOUNDS(T)                                                                                        \
      forward_##S(const T* x, const T* w, T* y, const int* table, int n, int groups, int outs, int inner, END(T)) {           \
    forward<T>(x, w, y, table, n, groups, outs, inner, After<T>{bias, scale, shift, residual, activation});                   \
  }                                                                                                                           \
  extern "C" __global__ void BOUNDS(T)                                                                                        \
      input_grad_##S(const T* gy, const T* w, T* gx, const int* table, int n, int groups, int outs, int inner) {              \
    input_grad<T>(gy, w, gx, table, n, groups, outs, inner);                                                                  \
  }                                                                                                                           \
  extern "C" __global__ void BOUNDS(T) weight_grad_##S(const T* gy, const T* x, Wide<T>* sums, const int* table, int n,       \
                                                       int groups, int outs, int inner, int stretch) {                        \
    weight_grad<T>(gy, x, sums, table, n, groups, outs, inner, stretch);                                                      \
  }                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256) depthwise_##S(const T* x, const T* w, T* y, const int* table, int groups, \
                                                                  int outs, int64 count, END(T)) {                            \
    depthwise<T>(x, w, y, table, groups, outs, count, After<T>{bias, scale, shift, residual, activation});                    \
  }                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256)                                                                           \
      depthwise_input_grad_##S(const T* gy, const T* w, T* gx, const int* table, int groups, int outs, int64 count) {         \
    depthwise_input_grad<T>(gy, w, gx, table, groups, outs, count);                                                           \
  }                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256) depthwise_weight_grad_##S(                                                \
      const T* gy, const T* x, Wide<T>* sums, const int* table, int n, int groups, int outs) {                                \
    depthwise_weight_grad<T>(gy, x, sums, table, n, groups, outs);                                                            \
  }                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256) add_parts_##S(const Wide<T>* sums, T* total, int parts, int64 count) {    \
    int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;                                                                   \
    if (i >= count) return;                                                                                                   \
    Wide<T> sum = 0;                                                                                                          \
    for (int p = 0; p < parts; p++) sum += sums[p * count + i];                                                               \
    total[i] = write<T>(sum);                                                                                                 \
  }
FOR_FLOATS(DEFINE)
