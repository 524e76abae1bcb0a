// CUDA C++ for g++: blocks run one after another, every thread of a block is a fiber with a stack of its own.
// A fiber runs until it waits (a barrier, an exchange in its warp) or ends; then the schedule picks who goes on.
#pragma once
#define CUDA_ON_CPU 1
#ifdef __CUDACC__
#error "for the host's compiler only"
#endif
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include <vector_functions.h>  // float4, dim3 ... of CUDA's own headers
#include <vector_types.h>
#include <cuda_bf16.h>  // conversions with the GPU's bits
#include <cuda_fp16.h>

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#undef __align__
#define __global__ __attribute__((annotate("kernel")))
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static thread_local  // one OS thread runs one block: its fibers share this
#define DYN_SHARED(T, name) T* name = reinterpret_cast<T*>(cpucuda::block->shared)

namespace cpucuda {

const size_t STACK = 64 << 10;

struct Fiber {
  void* sp;  // where its stack was left
  uint3 thread;
  int number;
  bool done;
};
struct Barrier {
  int arrived = 0;
  unsigned round = 0;
};
struct Warp {
  Barrier barrier;
  unsigned long long value[32];
  unsigned fragment[32][8];
  bool flag[32];
};
struct Block {
  int threads, live, current;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  void* scheduler;  // its stack, while a fiber runs
  std::function<void()> kernel;
  char *stacks, *shared;
  size_t shared_bytes;
  Barrier barrier;
  int any, all, count;                // gathered by those who have arrived
  int had_any, had_all, had_count;    // of the last whole round
  std::vector<int> order;
  int schedule;
  unsigned random;
};
enum { FORWARD, REVERSE, RANDOM, SKEW };

inline thread_local Block* block = nullptr;
inline thread_local uint3 thread_index, block_index;
inline thread_local dim3 block_size, grid_size;

#if !defined(__x86_64__)
#error "the switch between fibers is written for x86-64"
#endif
// Leaves the registers that a call must keep on the old stack, takes them from the new one.
extern "C" void cpucuda_switch(void** from, void* to);
__asm__(
    ".pushsection .text\n.weak cpucuda_switch\n.type cpucuda_switch,@function\ncpucuda_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n.popsection\n");

[[noreturn]] inline void stop(const char* why) {
  fprintf(stderr, "cuda_on_cpu: %s (block %u %u %u, thread %d)\n", why, block_index.x, block_index.y, block_index.z, block->current);
  abort();
}
inline Fiber& self() { return block->fibers[block->current]; }
inline Warp& warp() { return block->warps[self().number >> 5]; }
inline int lane() { return self().number & 31; }
inline void wait() { cpucuda_switch(&self().sp, block->scheduler); }

inline void begin_fiber() {
  block->kernel();
  self().done = true;
  block->live--;
  wait();
  stop("a thread went on after its end");
}
inline void run(int i) {
  Fiber& f = block->fibers[i];
  if (f.done) return;
  block->current = i;
  thread_index = f.thread;
  cpucuda_switch(&block->scheduler, f.sp);
}
inline unsigned draw() { return (block->random = block->random * 1664525u + 1013904223u) >> 8; }

inline void finish_round() {
  Block* b = block;
  b->had_any = b->any, b->had_all = b->all, b->had_count = b->count;
  b->barrier.arrived = 0;
  b->barrier.round++;
}
// __syncthreads and its kin: threads that have ended are not waited for.
inline void block_barrier(int flag) {
  Block* b = block;
  if (b->barrier.arrived == 0) b->any = 0, b->all = 1, b->count = 0;
  b->any |= flag != 0, b->all &= flag != 0, b->count += flag != 0;
  unsigned round = b->barrier.round;
  b->barrier.arrived++;
  while (b->barrier.round == round) {
    if (b->barrier.arrived >= b->live)
      finish_round();
    else
      wait();
  }
}
inline void warp_barrier(unsigned mask) {
  int lanes = std::min(32, block->threads - (self().number & ~31));
  unsigned present = lanes == 32 ? ~0u : (1u << lanes) - 1;
  Barrier& b = warp().barrier;
  unsigned round = b.round;
  if (++b.arrived >= __builtin_popcount(mask & present)) {
    b.arrived = 0;
    b.round++;
  }
  for (long turns = 0; b.round == round; wait())
    if (++turns > 100000000L) stop("a warp waits for a thread that does not come");
}
template <class T> inline T exchange(unsigned mask, T v, int source) {
  static_assert(sizeof(T) <= 8, "an exchange carries at most 8 bytes");
  Warp& w = warp();
  memcpy(&w.value[lane()], &v, sizeof(T));
  warp_barrier(mask);
  T taken;
  memcpy(&taken, &w.value[source & 31], sizeof(T));
  warp_barrier(mask);
  return taken;
}
inline unsigned ballot(unsigned mask, bool flag) {
  Warp& w = warp();
  w.flag[lane()] = flag;
  warp_barrier(mask);
  unsigned bits = 0;
  for (int i = 0; i < 32; i++)
    if (mask >> i & 1 && w.flag[i]) bits |= 1u << i;
  warp_barrier(mask);
  return bits;
}

inline void prepare_block() {
  Block* b = block;
  b->live = b->threads;
  b->barrier = Barrier();
  memset(b->shared, 0xCD, b->shared_bytes);
  for (Warp& w : b->warps) w.barrier = Barrier();
  for (int i = 0; i < b->threads; i++) {
    unsigned x = block_size.x, y = block_size.y;
    void** sp = reinterpret_cast<void**>(b->stacks + STACK * (i + 1));
    *--sp = nullptr;  // so that the stack is aligned as after a call
    *--sp = reinterpret_cast<void*>(begin_fiber);
    for (int k = 0; k < 6; k++) *--sp = nullptr;
    b->fibers[i] = {sp, {i % x, i / x % y, i / (x * y)}, i, false};
    b->order[i] = i;
  }
}
inline void run_turn() {
  Block* b = block;
  if (b->schedule == SKEW) {  // one warp runs ahead as far as it can
    int w = draw() % b->warps.size();
    for (int turns = draw() % 64; turns >= 0; turns--)
      for (int i = w * 32; i < std::min(b->threads, w * 32 + 32); i++) run(i);
    return;
  }
  if (b->schedule == REVERSE) std::reverse(b->order.begin(), b->order.end());
  if (b->schedule == RANDOM)
    for (int i = b->threads - 1; i > 0; i--) std::swap(b->order[i], b->order[draw() % (i + 1)]);
  for (int i : b->order) run(i);
}
inline int schedule_named(const char* name) {
  if (!name || !strcmp(name, "forward")) return FORWARD;
  return !strcmp(name, "reverse") ? REVERSE : !strcmp(name, "random") ? RANDOM : SKEW;
}
inline void launch(dim3 grid, dim3 threads, size_t shared_bytes, std::function<void()> kernel) {
  Block b;
  b.threads = threads.x * threads.y * threads.z;
  b.fibers.resize(b.threads);
  b.warps.resize((b.threads + 31) / 32);
  b.order.resize(b.threads);
  b.kernel = kernel;
  b.shared_bytes = (shared_bytes + 127) / 128 * 128;
  b.stacks = static_cast<char*>(aligned_alloc(64, STACK * b.threads));
  b.shared = static_cast<char*>(aligned_alloc(128, b.shared_bytes + 128));
  b.schedule = schedule_named(getenv("CUDA_ON_CPU_ORDER"));
  const char* seed = getenv("CUDA_ON_CPU_SEED");
  b.random = (seed ? atoi(seed) : 1) * 2654435761u + 1;
  block = &b;
  block_size = threads, grid_size = grid;
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x++) {
        block_index = {x, y, z};
        prepare_block();
        while (b.live > 0) run_turn();
      }
  block = nullptr;
  free(b.stacks);
  free(b.shared);
}
}  // namespace cpucuda

#define threadIdx cpucuda::thread_index
#define blockIdx cpucuda::block_index
#define blockDim cpucuda::block_size
#define gridDim cpucuda::grid_size
#define warpSize 32

inline void __syncthreads() { cpucuda::block_barrier(0); }
inline int __syncthreads_or(int p) { return cpucuda::block_barrier(p), cpucuda::block->had_any; }
inline int __syncthreads_and(int p) { return cpucuda::block_barrier(p), cpucuda::block->had_all; }
inline int __syncthreads_count(int p) { return cpucuda::block_barrier(p), cpucuda::block->had_count; }
inline void __syncwarp(unsigned mask = ~0u) { cpucuda::warp_barrier(mask); }
inline void __threadfence() {}
inline void __threadfence_block() {}

// Within groups of `width` lanes; a source outside the group is the lane itself.
inline int cpucuda_within(int source, int width) {
  int l = cpucuda::lane();
  return source >= 0 && source / width == l / width ? source : l;
}
template <class T> inline T __shfl_sync(unsigned m, T v, int source, int width = 32) {
  return cpucuda::exchange(m, v, (cpucuda::lane() & ~(width - 1)) | (source & (width - 1)));
}
template <class T> inline T __shfl_xor_sync(unsigned m, T v, int with, int width = 32) {
  return cpucuda::exchange(m, v, cpucuda_within(cpucuda::lane() ^ with, width));
}
template <class T> inline T __shfl_down_sync(unsigned m, T v, unsigned by, int width = 32) {
  return cpucuda::exchange(m, v, cpucuda_within(cpucuda::lane() + (int)by, width));
}
template <class T> inline T __shfl_up_sync(unsigned m, T v, unsigned by, int width = 32) {
  return cpucuda::exchange(m, v, cpucuda_within(cpucuda::lane() - (int)by, width));
}
inline unsigned __ballot_sync(unsigned m, int p) { return cpucuda::ballot(m, p != 0); }
inline int __any_sync(unsigned m, int p) { return cpucuda::ballot(m, p != 0) != 0; }
inline int __all_sync(unsigned m, int p) { return cpucuda::ballot(m, p != 0) == m; }

// Nothing interrupts a fiber between two waits, so plain operations are atomic.
template <class T> inline T atomicAdd(T* p, T v) { T old = *p; *p = old + v; return old; }
template <class T> inline T atomicMax(T* p, T v) { T old = *p; *p = std::max(old, v); return old; }
template <class T> inline T atomicMin(T* p, T v) { T old = *p; *p = std::min(old, v); return old; }
template <class T> inline T atomicExch(T* p, T v) { T old = *p; *p = v; return old; }
template <class T> inline T atomicOr(T* p, T v) { T old = *p; *p = old | v; return old; }
template <class T> inline T atomicCAS(T* p, T expected, T v) { T old = *p; if (old == expected) *p = v; return old; }
template <class T> inline T __ldg(const T* p) { return *p; }
template <class T> inline T __ldcs(const T* p) { return *p; }
template <class T> inline void __stcs(T* p, T v) { *p = v; }

inline float __expf(float x) noexcept { return expf(x); }
inline float __logf(float x) noexcept { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __saturatef(float x) { return std::min(std::max(x, 0.0f), 1.0f); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
template <class To, class From> inline To cpucuda_bits(From v) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To to;
  memcpy(&to, &v, sizeof(To));
  return to;
}
inline float __int_as_float(int v) { return cpucuda_bits<float>(v); }
inline int __float_as_int(float v) { return cpucuda_bits<int>(v); }
inline float __uint_as_float(unsigned v) { return cpucuda_bits<float>(v); }
inline unsigned __float_as_uint(float v) { return cpucuda_bits<unsigned>(v); }
inline double __longlong_as_double(long long v) { return cpucuda_bits<double>(v); }
inline long long __double_as_longlong(double v) { return cpucuda_bits<long long>(v); }
inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 4; i++) c += (int)(signed char)(a >> 8 * i) * (int)(signed char)(b >> 8 * i);
  return c;
}
using std::max;
using std::min;

// The tensor core's product, by PTX's layout of m16n8k16: D (16x8, float) += A (16x16, rows) B (16x8, columns), bfloat16.
inline float cpucuda_bf16(unsigned pair, int high) { return cpucuda_bits<float>((high ? pair >> 16 : pair & 0xffffu) << 16); }
inline float cpucuda_f16(unsigned pair, int high) {
  __half h;
  unsigned short bits = high ? pair >> 16 : pair & 0xffffu;
  memcpy(&h, &bits, 2);
  return __half2float(h);
}
template <class Read> inline void cpucuda_mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Read number) {
  cpucuda::Warp& w = cpucuda::warp();
  int l = cpucuda::lane();
  for (int i = 0; i < 4; i++) w.fragment[l][i] = a[i];
  w.fragment[l][4] = b[0], w.fragment[l][5] = b[1];
  cpucuda::warp_barrier(~0u);
  for (int i = 0; i < 4; i++) {
    int row = (l >> 2) + (i >> 1) * 8, column = (l & 3) * 2 + (i & 1);
    float sum = 0;
    for (int k = 0; k < 16; k++) {
      unsigned left = w.fragment[(row & 7) * 4 + ((k & 7) >> 1)][(row >> 3) + ((k >> 3) << 1)];
      unsigned right = w.fragment[column * 4 + ((k & 7) >> 1)][4 + (k >> 3)];
      sum += number(left, k & 1) * number(right, k & 1);
    }
    d[i] += sum;
  }
  cpucuda::warp_barrier(~0u);
}
inline void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { cpucuda_mma(d, a, b, cpucuda_bf16); }
inline void mma_m16n8k16_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { cpucuda_mma(d, a, b, cpucuda_f16); }

// ldmatrix: lane l names row l % 8 of matrix l / 8.
inline void cpucuda_matrices(unsigned (&d)[4], const void* row, bool turned) {
  cpucuda::Warp& w = cpucuda::warp();
  int l = cpucuda::lane();
  if (reinterpret_cast<uintptr_t>(row) % 16) cpucuda::stop("ldmatrix reads a row whose address is no multiple of 16");
  w.value[l] = reinterpret_cast<uintptr_t>(row);
  cpucuda::warp_barrier(~0u);
  for (int m = 0; m < 4; m++) {
    unsigned short pair[2];
    for (int e = 0; e < 2; e++) {
      int i = turned ? (l & 3) * 2 + e : l >> 2, j = turned ? l >> 2 : (l & 3) * 2 + e;
      pair[e] = reinterpret_cast<const unsigned short*>(w.value[m * 8 + i])[j];
    }
    d[m] = pair[0] | (unsigned)pair[1] << 16;
  }
  cpucuda::warp_barrier(~0u);
}
inline void load_matrices(unsigned (&d)[4], const void* row) { cpucuda_matrices(d, row, false); }
inline void load_matrices_turned(unsigned (&d)[4], const void* row) { cpucuda_matrices(d, row, true); }
