// Rows in the registers of their teams: read once from memory, used several times. HELD numbers a thread, K of them side by
// side (a pack of 16 bytes, or 1); with HELD = 0 rows are too long for that and each use reads them again, from the cache.
#pragma once
#include "rows.cuh"

// K numbers side by side, at an address that is a multiple of their size.
template <class T, int K> struct alignas(K * sizeof(T)) Some {
  T at[K];
};
template <int K, class T> __device__ __forceinline__ Some<T, K> load_some(const T* p) {
  return *reinterpret_cast<const Some<T, K>*>(p);
}
template <int K, class T> __device__ __forceinline__ Some<Wide<T>, K> read_some(const T* p) {
  Some<T, K> some = load_some<K>(p);
  Some<Wide<T>, K> out;
#pragma unroll
  for (int k = 0; k < K; k++) out.at[k] = read(some.at[k]);
  return out;
}
template <class T, int K> __device__ __forceinline__ void write_some(T* p, const Some<Wide<T>, K>& v) {
  Some<T, K> some;
#pragma unroll
  for (int k = 0; k < K; k++) some.at[k] = write<T>(v.at[k]);
  *reinterpret_cast<Some<T, K>*>(p) = some;
}
template <int K, class W> __device__ __forceinline__ Some<W, K> filled(W value) {
  Some<W, K> out;
#pragma unroll
  for (int k = 0; k < K; k++) out.at[k] = value;
  return out;
}

// f(e, i) for each K numbers that are this thread's: i their place in the row, e in its registers.
template <class Team, int K, int HELD, class F> __device__ __forceinline__ void walk(int n, F f) {
  if (HELD) {
#pragma unroll
    for (int e = 0; e < HELD; e += K) {
      int i = (e / K * Team::size() + Team::rank()) * K;
      if (i < n) f(e, i);
    }
  } else {
    for (int i = Team::rank() * K; i < n; i += Team::size() * K) f(0, i);
  }
}

// f(Width<K>(), i) for this thread's numbers of a row that may begin anywhere: packs from the first address that is a multiple of
// 16, single numbers before and behind them; single numbers alone where not `packed`.
template <int K> struct Width {
  static const int COUNT = K;
};
template <class Team, class T, class F> __device__ __forceinline__ void walk_from(const T* row, int n, bool packed, F f) {
  const int K = Pack<T>::COUNT;
  int head = packed ? (int)((16 - reinterpret_cast<uint64>(row) % 16) % 16 / sizeof(T)) : n;
  head = head < n ? head : n;
  int behind = head + (n - head) / K * K;
  for (int i = Team::rank(); i < head; i += Team::size()) f(Width<1>(), i);
  for (int i = head + Team::rank() * K; i < behind; i += Team::size() * K) f(Width<K>(), i);
  for (int i = behind + Team::rank(); i < n; i += Team::size()) f(Width<1>(), i);
}
// Whether two rows have their packs at the same places.
template <class T> __device__ __forceinline__ bool alike(const T* a, const T* b) {
  return (reinterpret_cast<uint64>(a) - reinterpret_cast<uint64>(b)) % 16 == 0;
}

template <class Team, class T, int K, int HELD> struct Row {
  typedef Wide<T> W;
  const T* row;
  T v[HELD ? HELD : 1];
  __device__ __forceinline__ Row(const T* from, int n) : row(from) {
    if (HELD) walk<Team, K, HELD>(n, [&](int e, int i) { put(e, load_some<K>(row + i)); });
  }
  // A row that its own threads write to memory, from where they read it where it is not held; what is held they put here.
  __device__ __forceinline__ explicit Row(const T* written) : row(written) {}
  __device__ __forceinline__ void put(int e, const Some<T, K>& some) {
#pragma unroll
    for (int k = 0; k < K; k++) v[e + k] = some.at[k];
  }
  __device__ __forceinline__ Some<W, K> at(int e, int i) const {
    if (!HELD) return read_some<K>(row + i);
    Some<W, K> out;
#pragma unroll
    for (int k = 0; k < K; k++) out.at[k] = read(v[e + k]);
    return out;
  }
};

// What a thread holds at most, by its team: few enough for a backward to hold four rows without a spill.
template <class T> struct Holds {
  static const int WARP = sizeof(T) == 8 ? 16 : 32, BLOCK = WARP / 2;
};
