// Pictures of bytes resized, and turned into numbers by tables: whole numbers, every backend's bits. A thread a byte of the result.
// Floor: a byte in and a byte (or a float) out for each of the result's, windows share the cache.
#include "common.cuh"

const int SHIFT = 22;  // weights are multiples of 2^-22, as reference/pictures.py has them

// x (n, size, inner of which `wanted` count) -> y (n, length, wanted): inner is all that follows the side, e.g. width * channels.
// start and count (m, length), weight (m, length, taps); m is 1 or n.
extern "C" __global__ void __launch_bounds__(256)
    along(const uint8* x, uint8* y, const int64* start, const int64* count, const int* weight, int m, int size, int length, int taps,
          int64 inner, int64 total) {
  int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total) return;
  int64 line = i / inner, picture = line / length;
  int64 row = (m == 1 ? 0 : picture * length) + line % length;
  x += (picture * size + start[row]) * inner + i % inner;
  weight += row * taps;
  int sum = 1 << (SHIFT - 1);
  for (int t = 0; t < (int)count[row]; t++) sum += (int)x[t * inner] * weight[t];
  y[i] = (uint8)min(max(sum >> SHIFT, 0), 255);
}

// x (n, places, channels) bytes -> y (n, channels, places) numbers, by table (channels, 256).
template <class T> __device__ void look_up(const uint8* x, const T* table, T* y, int channels, int64 places, int64 total) {
  int64 i = (int64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total) return;
  int channel = i / places % channels;
  int64 picture = i / places / channels;
  y[i] = table[channel * 256 + x[(picture * places + i % places) * channels + channel]];
}
extern "C" __global__ void __launch_bounds__(256)
    look_up_f32(const uint8* x, const float* table, float* y, int channels, int64 places, int64 total) {
  look_up(x, table, y, channels, places, total);
}
extern "C" __global__ void __launch_bounds__(256)
    look_up_f64(const uint8* x, const double* table, double* y, int channels, int64 places, int64 total) {
  look_up(x, table, y, channels, places, total);
}
