// A CUDA driver that computes nothing: memory is the host's, copies copy, and kernels end at once without a result. With it, a
// program runs at the speed at which its processor can launch, on a machine without a GPU. scripts/processor_time.sh uses it.
//
//   cc -O2 -shared -fPIC -o DIR/libcuda.so scripts/null_cuda.c        then: LD_LIBRARY_PATH=DIR program --device cuda
//
// It has what cudarc 0.19 and cubecl 0.11 call, claims to be a card of compute capability 9.0, and says at the end how many kernels
// were launched. After $LOSE_AFTER launches the device is lost: launches, copies, waits and allocations fail from then on, as they
// do after a kernel has failed on a real one. Kernels are written as PTX to the folder $PTX, if it is given.
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef uint64_t Address;
enum { SUCCESS = 0, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, LAUNCH_FAILED = 719 };
static atomic_long launches;
static long lose_after = -1;
static void *const some = "a handle of which nothing is read";

__attribute__((constructor)) static void begin(void) {
    const char *number = getenv("LOSE_AFTER");
    if (number) lose_after = atol(number);
}

__attribute__((destructor)) static void end(void) {
    if (launches > 0) fprintf(stderr, "launches: %ld\n", launches);
}

static int state(void) { return lose_after >= 0 && launches >= lose_after ? LAUNCH_FAILED : SUCCESS; }

// Functions that have nothing to do, and those that only return a handle, a number or a text.
#define NOTHING(name, ...) int name(__VA_ARGS__) { return SUCCESS; }
#define FAILS_IF_LOST(name, ...) int name(__VA_ARGS__) { return state(); }
#define RETURNS(name, type, value, ...) int name(type *out, ##__VA_ARGS__) { *out = (value); return SUCCESS; }

NOTHING(cuInit, unsigned flags)
RETURNS(cuDriverGetVersion, int, 12080)
RETURNS(cuDeviceGetCount, int, 1)
RETURNS(cuDevicePrimaryCtxRetain, void *, some, int device)
NOTHING(cuDevicePrimaryCtxRelease_v2, int device)
RETURNS(cuDeviceTotalMem_v2, size_t, (size_t)16 << 30, int device)
RETURNS(cuDeviceCanAccessPeer, int, 0, int device, int other)
RETURNS(cuDeviceGetDefaultMemPool, void *, some, int device)
NOTHING(cuMemPoolSetAttribute, void *pool, int attribute, void *value)
NOTHING(cuMemPoolTrimTo, void *pool, size_t size)
NOTHING(cuCtxSetCurrent, void *context)
RETURNS(cuCtxGetCurrent, void *, some)
FAILS_IF_LOST(cuCtxSynchronize, void)
NOTHING(cuMemFree_v2, Address address)
NOTHING(cuMemFreeAsync, Address address, void *stream)
NOTHING(cuMemFreeHost, void *memory)
NOTHING(cuModuleUnload, void *module)
RETURNS(cuModuleGetFunction, void *, some, void *module, const char *name)
NOTHING(cuFuncSetAttribute, void *function, int attribute, int value)
RETURNS(cuStreamCreate, void *, some, unsigned flags)
RETURNS(cuStreamCreateWithPriority, void *, some, unsigned flags, int priority)
NOTHING(cuStreamDestroy_v2, void *stream)
FAILS_IF_LOST(cuStreamSynchronize, void *stream)
FAILS_IF_LOST(cuStreamWaitEvent, void *stream, void *event, unsigned flags)
RETURNS(cuEventCreate, void *, some, unsigned flags)
NOTHING(cuEventDestroy_v2, void *event)
FAILS_IF_LOST(cuEventRecord, void *event, void *stream)
FAILS_IF_LOST(cuEventQuery, void *event)
FAILS_IF_LOST(cuEventSynchronize, void *event)
RETURNS(cuEventElapsedTime, float, 0.01f, void *start, void *stop)
RETURNS(cuEventElapsedTime_v2, float, 0.01f, void *start, void *stop)

int cuModuleLoadData(void **module, const char *ptx) {
    static atomic_int modules;
    const char *folder = getenv("PTX");
    char path[4096];
    snprintf(path, sizeof path, "%s/%d.ptx", folder ? folder : "", modules++);
    FILE *file = folder ? fopen(path, "w") : NULL;
    if (file) fputs(ptx, file), fclose(file);
    *module = some;
    return SUCCESS;
}

int cuDeviceGet(int *device, int index) {
    *device = index;
    return index == 0 ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, size, "no GPU (null_cuda)");
    return SUCCESS;
}

int cuDeviceGetPCIBusId(char *id, int size, int device) {
    snprintf(id, size, "0000:01:00.0");
    return SUCCESS;
}

int cuDeviceGetUuid_v2(void *uuid, int device) {
    memset(uuid, 1, 16);
    return SUCCESS;
}

int cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    *least = *greatest = 0;
    return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    // Pairs of CUdevice_attribute and its value on an H200; 1 for all others.
    static const int known[][2] = {{1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 2147483647}, {6, 65535}, {7, 65535},
                                   {8, 49152}, {10, 32}, {16, 132}, {75, 9}, {76, 0}, {97, 232448}};
    *value = 1;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i][0] == attribute) *value = known[i][1];
    return SUCCESS;
}

static int allocate(void *out, size_t size) {
    if (state() != SUCCESS) return state();
    void *memory = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memcpy(out, &memory, sizeof memory);
    return memory == MAP_FAILED ? OUT_OF_MEMORY : SUCCESS;
}

int cuMemAlloc_v2(Address *address, size_t size) { return allocate(address, size); }
int cuMemAllocAsync(Address *address, size_t size, void *stream) { return allocate(address, size); }
int cuMemAllocHost_v2(void **memory, size_t size) { return allocate(memory, size); }

static int copy(Address to, Address from, size_t size) {
    if (state() == SUCCESS) memmove((void *)to, (void *)from, size);
    return state();
}

int cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t size, void *stream) { return copy(to, (Address)from, size); }
int cuMemcpyDtoHAsync_v2(void *to, Address from, size_t size, void *stream) { return copy((Address)to, from, size); }
int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t size, void *stream) { return copy(to, from, size); }

// CUDA_MEMCPY2D: an end of a copy, and the copy.
struct End {
    size_t x, y;
    int type;
    char *host;
    Address device;
    void *array;
    size_t pitch;
};

struct Plan {
    struct End from, to;
    size_t width, height;
};

int cuMemcpy2DAsync_v2(const struct Plan *plan, void *stream) {
    const struct End *ends[2] = {&plan->from, &plan->to};
    Address at[2];
    for (int i = 0; i < 2; i++) at[i] = ends[i]->type == 1 ? (Address)ends[i]->host : ends[i]->device;
    for (size_t row = 0; row < plan->height; row++)
        copy(at[1] + (ends[1]->y + row) * ends[1]->pitch + ends[1]->x,
             at[0] + (ends[0]->y + row) * ends[0]->pitch + ends[0]->x, plan->width);
    return state();
}

int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned block_x, unsigned block_y, unsigned block_z,
                   unsigned shared, void *stream, void **arguments, void **extra) {
    if (state() == SUCCESS) launches++;
    return state();
}

int cuGetErrorName(int error, const char **text) {
    *text = error == LAUNCH_FAILED ? "launch failed" : error == OUT_OF_MEMORY ? "out of memory" : "invalid device";
    return SUCCESS;
}

int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }
