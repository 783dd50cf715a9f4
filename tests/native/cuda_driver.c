// A stand-in for NVIDIA's driver library: the calls that pycuda makes for x2c_edge/backends/pycuda_layer.py,
// on the host's memory. Work is done as it is enqueued. What a driver refuses is refused: calls of a thread
// without a context, memory that is not there, times of events that have none. Page-locked memory lies at one
// address for the host and at another for the device, so that neither passes for the other.
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, INVALID_HANDLE = 400 };
enum {
    DEVICE_MEMORY_BYTES = 1 << 28,
    POISON = 0xA5,
    LOCKED_MAPPED = 2,
    NON_BLOCKING = 1,
    DISABLE_TIMING = 2
};
enum { INTEGRATED = 18 };

#define PRIMARY ((void*)0x11)
#define NEEDS_CONTEXT \
    if (depth == 0) return INVALID_CONTEXT

static _Thread_local int depth;
static atomic_int alive, retained;
static atomic_size_t taken;

// What the test asks: objects and contexts that were made and not given up.
int stand_in_alive(void) { return alive; }
int stand_in_retained(void) { return retained; }
int stand_in_depth(void) { return depth; }

int cuInit(unsigned flags) { return flags == 0 ? OK : INVALID_VALUE; }
int cuDriverGetVersion(int* version) {
    *version = 13000;
    return OK;
}
int cuGetErrorString(int error, const char** text) {
    *text = error == OUT_OF_MEMORY     ? "out of memory"
            : error == INVALID_CONTEXT ? "invalid device context"
            : error == INVALID_HANDLE  ? "invalid resource handle"
                                       : "invalid argument";
    return OK;
}
int cuDeviceGetCount(int* count) {
    *count = getenv("STAND_IN_NO_DEVICE") ? 0 : 1;
    return OK;
}
int cuDeviceGet(int* device, int number) {
    *device = number;
    return number == 0 ? OK : INVALID_VALUE;
}
int cuDeviceGetName(char* name, int size, int device) {
    (void)device;
    strncpy(name, "Stand-in", (size_t)size);
    return OK;
}
int cuDeviceTotalMem_v2(size_t* bytes, int device) {
    (void)device;
    *bytes = DEVICE_MEMORY_BYTES;
    return OK;
}
int cuDeviceComputeCapability(int* major, int* minor, int device) {
    (void)device;
    *major = 8;
    *minor = 7;
    return OK;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
    (void)device;
    *value = 0;
    return attribute == INTEGRATED ? OK : INVALID_VALUE;
}

int cuDevicePrimaryCtxRetain(void** context, int device) {
    (void)device;
    ++retained;
    *context = PRIMARY;
    return OK;
}
int cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    return --retained >= 0 ? OK : INVALID_CONTEXT;
}
int cuCtxPushCurrent_v2(void* context) {
    if (context != PRIMARY) return INVALID_CONTEXT;
    ++depth;
    return OK;
}
int cuCtxPopCurrent_v2(void** context) {
    NEEDS_CONTEXT;
    *context = PRIMARY;
    --depth;
    return OK;
}
int cuCtxGetDevice(int* device) {
    NEEDS_CONTEXT;
    *device = 0;
    return OK;
}

// A block's size lies before it.
int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
    NEEDS_CONTEXT;
    if (bytes == 0) return INVALID_VALUE;
    if (taken + bytes > DEVICE_MEMORY_BYTES) return OUT_OF_MEMORY;
    char* block = aligned_alloc(256, (bytes + 511) / 256 * 256);
    memcpy(block, &bytes, sizeof bytes);
    memset(block + 256, POISON, bytes);
    taken += bytes;
    ++alive;
    *address = (uint64_t)(uintptr_t)(block + 256);
    return OK;
}
int cuMemFree_v2(uint64_t address) {
    NEEDS_CONTEXT;
    char* block = (char*)(uintptr_t)address - 256;
    size_t bytes;
    memcpy(&bytes, block, sizeof bytes);
    taken -= bytes;
    --alive;
    free(block);
    return OK;
}
int cuMemGetInfo_v2(size_t* available, size_t* total) {
    NEEDS_CONTEXT;
    *total = DEVICE_MEMORY_BYTES;
    *available = DEVICE_MEMORY_BYTES - taken;
    return OK;
}

// The same pages twice, side by side: size and a spare page, then the host's view, then the device's.
enum { PAGE = 4096 };
static size_t rounded(size_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }
int cuMemHostAlloc(void** host, size_t bytes, unsigned flags) {
    NEEDS_CONTEXT;
    if (bytes == 0 || !(flags & LOCKED_MAPPED)) return INVALID_VALUE;
    const size_t size = rounded(bytes);
    const int file = memfd_create("locked", 0);
    if (file < 0 || ftruncate(file, (off_t)size) != 0) return OUT_OF_MEMORY;
    const int access = PROT_READ | PROT_WRITE;
    char* start = mmap(NULL, PAGE + 2 * size, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) return OUT_OF_MEMORY;
    memcpy(start, &size, sizeof size);
    mmap(start + PAGE, size, access, MAP_SHARED | MAP_FIXED, file, 0);
    mmap(start + PAGE + size, size, access, MAP_SHARED | MAP_FIXED, file, 0);
    close(file);
    memset(start + PAGE, POISON, bytes);
    ++alive;
    *host = start + PAGE;
    return OK;
}
int cuMemHostGetDevicePointer_v2(uint64_t* address, void* host, unsigned flags) {
    NEEDS_CONTEXT;
    size_t size;
    memcpy(&size, (char*)host - PAGE, sizeof size);
    *address = (uint64_t)(uintptr_t)host + size;
    return flags == 0 ? OK : INVALID_VALUE;
}
int cuMemFreeHost(void* host) {
    NEEDS_CONTEXT;
    size_t size;
    memcpy(&size, (char*)host - PAGE, sizeof size);
    --alive;
    return munmap((char*)host - PAGE, PAGE + 2 * size) == 0 ? OK : INVALID_VALUE;
}

int cuStreamCreate(void** stream, unsigned flags) {
    NEEDS_CONTEXT;
    if (flags != NON_BLOCKING) return INVALID_VALUE;
    *stream = malloc(1);
    ++alive;
    return OK;
}
int cuStreamDestroy_v2(void* stream) {
    NEEDS_CONTEXT;
    free(stream);
    --alive;
    return OK;
}

struct event {
    unsigned flags;
    struct timespec at;
};
int cuEventCreate(struct event** event, unsigned flags) {
    NEEDS_CONTEXT;
    *event = calloc(1, sizeof **event);
    (*event)->flags = flags;
    ++alive;
    return OK;
}
int cuEventDestroy_v2(struct event* event) {
    NEEDS_CONTEXT;
    free(event);
    --alive;
    return OK;
}
int cuEventRecord(struct event* event, void* stream) {
    NEEDS_CONTEXT;
    if (stream == NULL) return INVALID_HANDLE;  // the default stream is not ours
    clock_gettime(CLOCK_MONOTONIC, &event->at);
    return OK;
}
int cuEventSynchronize(struct event* event) {
    NEEDS_CONTEXT;
    return event->at.tv_sec != 0 ? OK : INVALID_HANDLE;
}
int cuEventElapsedTime_v2(float* milliseconds, struct event* from, struct event* to) {
    NEEDS_CONTEXT;
    if ((from->flags | to->flags) & DISABLE_TIMING) return INVALID_HANDLE;
    const double seconds = (double)(to->at.tv_sec - from->at.tv_sec);
    *milliseconds = (float)(seconds * 1e3 + (double)(to->at.tv_nsec - from->at.tv_nsec) * 1e-6);
    return OK;
}
int cuEventElapsedTime(float* milliseconds, struct event* from, struct event* to) {  // before CUDA 12.8
    return cuEventElapsedTime_v2(milliseconds, from, to);
}

int cuMemsetD8Async(uint64_t address, unsigned char value, size_t count, void* stream) {
    NEEDS_CONTEXT;
    if (stream == NULL) return INVALID_HANDLE;
    memset((void*)(uintptr_t)address, value, count);
    return OK;
}
int cuMemcpyHtoDAsync_v2(uint64_t address, const void* host, size_t bytes, void* stream) {
    NEEDS_CONTEXT;
    if (stream == NULL) return INVALID_HANDLE;
    memcpy((void*)(uintptr_t)address, host, bytes);
    return OK;
}
int cuMemcpyDtoHAsync_v2(void* host, uint64_t address, size_t bytes, void* stream) {
    NEEDS_CONTEXT;
    if (stream == NULL) return INVALID_HANDLE;
    memcpy(host, (const void*)(uintptr_t)address, bytes);
    return OK;
}
