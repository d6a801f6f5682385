// A Vulkan driver that passes everything on to the driver at $LOST_REAL, and loses its device after $LOSE_AFTER submissions:
// the next `submission` or the next `wait` fails, as $LOST_AT says.
// For the check of what a lost GPU does to a run: .ci/long/30-wgpu.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE_LOST (-4)

typedef void (*Function)(void);
typedef Function (*Lookup)(void *, const char *);

static void *driver;
static long lose_after;
static atomic_long submissions;
static atomic_int lost;

static Function (*device_lookup)(void *, const char *);
static int (*queue_submit)(void *, uint32_t, const void *, void *);
static int (*queue_submit2)(void *, uint32_t, const void *, void *);
static int (*queue_wait_idle)(void *);
static int (*wait_for_fences)(void *, uint32_t, const void *, uint32_t, uint64_t);
static int (*wait_semaphores)(void *, const void *, uint64_t);
static int (*fence_status)(void *, void *);
static int (*semaphore_value)(void *, void *, uint64_t *);

static void *symbol(const char *name) {
    if (!driver) {
        driver = dlopen(getenv("LOST_REAL"), RTLD_NOW | RTLD_LOCAL);
        if (!driver) {
            fprintf(stderr, "%s\n", dlerror());
            abort();
        }
        lose_after = atol(getenv("LOSE_AFTER"));
    }
    return dlsym(driver, name);
}

static int loses(void *queue) {
    if (atomic_fetch_add(&submissions, 1) < lose_after) return 0;
    // What was submitted before still reads memory that the program will free once it sees the loss.
    if (!lost) queue_wait_idle(queue);
    if (!atomic_exchange(&lost, 1)) fprintf(stderr, "the device is lost\n");
    return strcmp(getenv("LOST_AT"), "wait") != 0;
}

static int submitted(void *queue, int (*real)(void *, uint32_t, const void *, void *), uint32_t n, const void *submits, void *fence) {
    int result = loses(queue) ? DEVICE_LOST : real(queue, n, submits, fence);
    if (lost && !result) queue_wait_idle(queue);
    return result;
}
static int submit(void *queue, uint32_t n, const void *submits, void *fence) {
    return submitted(queue, queue_submit, n, submits, fence);
}
static int submit2(void *queue, uint32_t n, const void *submits, void *fence) {
    return submitted(queue, queue_submit2, n, submits, fence);
}
static int wait_idle(void *queue) { return lost ? DEVICE_LOST : queue_wait_idle(queue); }
static int fences(void *device, uint32_t n, const void *fences, uint32_t all, uint64_t timeout) {
    return lost ? DEVICE_LOST : wait_for_fences(device, n, fences, all, timeout);
}
static int semaphores(void *device, const void *info, uint64_t timeout) {
    return lost ? DEVICE_LOST : wait_semaphores(device, info, timeout);
}
static int status(void *device, void *fence) { return lost ? DEVICE_LOST : fence_status(device, fence); }
static int value(void *device, void *semaphore, uint64_t *value) {
    return lost ? DEVICE_LOST : semaphore_value(device, semaphore, value);
}

static Function of_device(void *device, const char *name);

// Puts the functions above before the driver's.
static Function instead(const char *name, Function real) {
    static const struct {
        const char *name;
        void *real;
        void *ours;
    } replaced[] = {
        {"vkGetDeviceProcAddr", &device_lookup, of_device},
        {"vkQueueSubmit", &queue_submit, submit},
        {"vkQueueSubmit2", &queue_submit2, submit2},
        {"vkQueueSubmit2KHR", &queue_submit2, submit2},
        {"vkQueueWaitIdle", &queue_wait_idle, wait_idle},
        {"vkWaitForFences", &wait_for_fences, fences},
        {"vkWaitSemaphores", &wait_semaphores, semaphores},
        {"vkWaitSemaphoresKHR", &wait_semaphores, semaphores},
        {"vkGetFenceStatus", &fence_status, status},
        {"vkGetSemaphoreCounterValue", &semaphore_value, value},
        {"vkGetSemaphoreCounterValueKHR", &semaphore_value, value},
    };
    for (size_t i = 0; real && i < sizeof replaced / sizeof *replaced; i++) {
        if (strcmp(name, replaced[i].name) == 0) {
            *(Function *)replaced[i].real = real;
            return (Function)replaced[i].ours;
        }
    }
    return real;
}

static Function of_device(void *device, const char *name) { return instead(name, device_lookup(device, name)); }

Function vk_icdGetInstanceProcAddr(void *instance, const char *name) {
    return instead(name, ((Lookup)symbol("vk_icdGetInstanceProcAddr"))(instance, name));
}
Function vk_icdGetPhysicalDeviceProcAddr(void *instance, const char *name) {
    return ((Lookup)symbol("vk_icdGetPhysicalDeviceProcAddr"))(instance, name);
}
int vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
    return ((int (*)(uint32_t *))symbol("vk_icdNegotiateLoaderICDInterfaceVersion"))(version);
}
