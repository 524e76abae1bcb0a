// A part added to the stream of a network, and the norm of the sum, which is read from registers: with half precision 8 bytes an
// element forward (two kernels move 10) and 10 backward (three move 16). The part may have gone through dropout; of a stream of
// float it may be half precision, as autocast has it. Sums and products are rounded as the kernels one after the other round them.
#include "dropping.cuh"
#include "norms.cuh"

__device__ __forceinline__ float plain_sum(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ double plain_sum(double a, double b) { return __dadd_rn(a, b); }

// Whether K numbers side by side can be read at once, of rows of a multiple of K.
template <int K, class T> __device__ __forceinline__ bool in_step(const T* p) {
  return reinterpret_cast<uint64>(p) % (K * sizeof(T)) == 0;
}

// What a part becomes before it is added: itself, or what dropout leaves of it.
template <class P> struct Through {
  bool drops;
  Dropping<P> dropping;
  template <int K> __device__ __forceinline__ void apply(Some<Wide<P>, K>& v, int64 first) const {
    if (drops) dropping.template apply<K>(v, first);
  }
};

template <class Team, class T, class P, int K, int HELD, bool CENTRED>
__device__ __forceinline__ void add_and_normalise(const T* stream, const P* part, Through<P> through, T* total, PerColumn<T> affine, T* y,
                                                  Wide<T>* means, Wide<T>* inverses, int64 r, int n, double eps) {
  typedef Wide<T> W;
  Row<Team, T, K, HELD> row(total + r * n);
  walk<Team, K, HELD>(n, [&](int e, int i) {
    int64 place = r * n + i;
    Some<W, K> v = read_some<K>(stream + place);
    Some<Wide<P>, K> more = read_some<K>(part + place);
    through.template apply<K>(more, place);
    Some<T, K> sum;
#pragma unroll
    for (int k = 0; k < K; k++) sum.at[k] = write<T>(v.at[k] + (W)more.at[k]);
    *reinterpret_cast<Some<T, K>*>(total + place) = sum;
    if (HELD) row.put(e, sum);
  });
  normalise<CENTRED>(row, affine, y, means, inverses, r, n, eps);
}

template <class Team, class T, class P, int HELD, bool CENTRED>
__device__ void add_norm(const T* stream, const P* part, Through<P> through, T* total, const T* weight, const T* bias, T* y,
                         Wide<T>* mean, Wide<T>* inverse, int64 rows, int n, double eps) {
  const int K = Pack<T>::COUNT;
  int64 r = Team::row();
  if (r >= rows) return;
  PerColumn<T> affine = {weight, bias};
  bool packed = packs(stream, n) && in_step<K>(part) && packs(total, n) && packs(y, n) && packs(weight, n) && packs(bias, n);
  if (packed)
    add_and_normalise<Team, T, P, K, HELD, CENTRED>(stream, part, through, total, affine, y, mean, inverse, r, n, eps);
  else
    add_and_normalise<Team, T, P, 1, HELD, CENTRED>(stream, part, through, total, affine, y, mean, inverse, r, n, eps);
}

// The norm's gradient plus the sum's own, where there is one: that is the stream's, and behind dropout the part's, which is not
// written apart where it would be the same.
template <class T, class P> struct Shared {
  const T* own;
  T* stream;
  P* part;
  Through<P> through;
  int n;
  template <int K> __device__ __forceinline__ void operator()(int64 r, int i, const Some<Wide<T>, K>& found) const {
    int64 place = r * n + i;
    Some<Wide<T>, K> v = found, more = own ? read_some<K>(own + place) : filled<K>((Wide<T>)0);
    Some<Wide<P>, K> passed;
#pragma unroll
    for (int k = 0; k < K; k++) {
      if (own) v.at[k] = read(write<T>(plain_sum(read(write<T>(v.at[k])), more.at[k])));
      passed.at[k] = read(write<P>((Wide<P>)read(write<T>(v.at[k]))));
    }
    write_some(stream + place, v);
    if (!part) return;
    through.template apply<K>(passed, place);
    write_some(part + place, passed);
  }
};

template <class Team, class T, class P, int HELD, bool CENTRED>
__device__ void add_norm_backward(const T* own, const T* g, const T* total, const T* weight, const Wide<T>* mean,
                                  const Wide<T>* inverse, T* stream, P* part, Through<P> through, Wide<T>* parts, int64 rows, int n) {
  const int K = Pack<T>::COUNT;
  Shared<T, P> out = {own, stream, part, through, n};
  bool packed = packs(own, n) && packs(g, n) && packs(total, n) && packs(weight, n) && packs(stream, n) && in_step<K>(part);
  int64 biases = (int64)gridDim.x * n;
  if (packed)
    norm_backward_rows<Team, T, K, HELD, CENTRED>(g, total, weight, mean, inverse, out, parts, biases, rows, n);
  else
    norm_backward_rows<Team, T, 1, HELD, CENTRED>(g, total, weight, mean, inverse, out, parts, biases, rows, n);
}

#define DROPS const uint32 *held, uint32 k0, uint32 k1, uint32 below, double factor, int drops
#define THROUGH(P) Through<P>{drops != 0, Dropping<P>(Drawn(held, k0, k1), below, factor)}
#define OF_NORM(norm, CENTRED, team, Team, HELD, THREADS, part, P, S, T)                                                          \
  extern "C" __global__ void __launch_bounds__(THREADS) add_##norm##_of_##part##_##team##_##S(                                    \
      const T* stream, const P* more, DROPS, T* total, const T* weight, const T* bias, T* y, WIDE_##S* mean,                   \
      WIDE_##S* inverse, int64 rows, int n, double eps) {                                                                         \
    add_norm<Team, T, P, HELD, CENTRED>(stream, more, THROUGH(P), total, weight, bias, y, mean, inverse, rows, n, eps);           \
  }                                                                                                                               \
  extern "C" __global__ void __launch_bounds__(THREADS) add_##norm##_backward_of_##part##_##team##_##S(                           \
      const T* own, const T* g, const T* total, const T* weight, const WIDE_##S* mean, const WIDE_##S* inverse, T* stream,        \
      P* more, DROPS, WIDE_##S* parts, int64 rows, int n) {                                                                    \
    add_norm_backward<Team, T, P, HELD, CENTRED>(own, g, total, weight, mean, inverse, stream, more, THROUGH(P), parts, rows, n); \
  }
#define OF_TEAM(team, Team, HELD, THREADS, part, P, S, T)                           \
  OF_NORM(layer_norm, true, team, Team, HELD, THREADS, part, P, S, T)               \
  OF_NORM(rms_norm, false, team, Team, HELD, THREADS, part, P, S, T)
#define OF_PART(part, P, S, T)                                     \
  OF_TEAM(warp, WarpTeam, Holds<T>::WARP, 256, part, P, S, T)      \
  OF_TEAM(block, BlockTeam, Holds<T>::BLOCK, 512, part, P, S, T)   \
  OF_TEAM(long, BlockTeam, 0, 512, part, P, S, T)
#define PARTS_f32(S, T) OF_PART(f32, float, S, T) OF_PART(f16, __half, S, T) OF_PART(bf16, __nv_bfloat16, S, T)
#define PARTS_f16(S, T) OF_PART(f16, __half, S, T)
#define PARTS_bf16(S, T) OF_PART(bf16, __nv_bfloat16, S, T)
#define PARTS_f64(S, T) OF_PART(f64, double, S, T)
#define DEFINE(S, T) PARTS_##S(S, T)
FOR_FLOATS(DEFINE)
