/* A V4L2 camera that exists only inside one process: preloaded, it answers for the file named in
 * FAKE_V4L2, so that OpenCV's real V4L2 backend and our code above it run without a device.
 *
 * The file's first line is its set-up: "FORMATS WIDTH HEIGHT CLOCK STALL", e.g. "MJPG,YUYV 1280 720 mono 0".
 * FORMATS: what it offers (any other wish gets the first). CLOCK: "mono" or "real". STALL: sends nothing
 * after so many pictures (0: never). Pictures come every 10 ms and are stamped 5 ms before they arrive.
 * FAKE_V4L2 may name several cameras, with colons between; one of them can be open at a time.
 * "busy" instead of a clock: it can be asked, and refuses to stream. Deleting the file unplugs the camera. MJPG pictures are the content of "FILE.jpg"; in YUYV and NV12
 * every byte is the picture's number.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_BUFFERS 8
#define PERIOD_NS 10000000LL
#define LATENCY_NS 5000000LL

static struct {
    int fd, writer, on_real_clock, stall_after, sent;
    unsigned count, formats[4], n_formats;
    long long next_ns;
    struct v4l2_pix_format pix;
    void* memory[MAX_BUFFERS];
    char path[4096];
    int busy;
    int queue[MAX_BUFFERS], queued;
} cam = {.fd = -1};

static unsigned max_width, max_height;

static long long now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void set_format(unsigned wish, unsigned width, unsigned height) {
    unsigned chosen = cam.formats[0];
    for (unsigned i = 0; i < cam.n_formats; i++)
        if (cam.formats[i] == wish) chosen = wish;
    memset(&cam.pix, 0, sizeof cam.pix);
    cam.pix.width = width && width < max_width ? width : max_width;
    cam.pix.height = height && height < max_height ? height : max_height;
    cam.pix.pixelformat = chosen;
    cam.pix.field = V4L2_FIELD_NONE;
    cam.pix.bytesperline = chosen == V4L2_PIX_FMT_YUYV ? 2 * cam.pix.width : cam.pix.width;
    cam.pix.sizeimage = 3 * cam.pix.width * cam.pix.height;
}

static int open_camera(const char* path) {
    char formats[64], clock[16];
    FILE* file = fopen(path, "r");
    if (!file ||
        fscanf(file, "%63s %u %u %15s %d", formats, &max_width, &max_height, clock, &cam.stall_after) != 5)
        return errno = ENODEV, -1;
    fclose(file);
    cam.n_formats = 0;
    for (char* name = strtok(formats, ","); name; name = strtok(NULL, ","))
        cam.formats[cam.n_formats++] = v4l2_fourcc(name[0], name[1], name[2], name[3]);
    cam.on_real_clock = !strcmp(clock, "real");
    cam.busy = !strcmp(clock, "busy");
    snprintf(cam.path, sizeof cam.path, "%s", path);
    cam.sent = cam.queued = 0;
    set_format(0, 640, 480);
    /* Nothing is ever written into the pipe: select() on the camera times out. */
    int ends[2];
    if (pipe(ends)) return -1;
    cam.writer = ends[1];
    return cam.fd = ends[0];
}

static unsigned fill(unsigned char* to, unsigned length) {
    unsigned pixels = cam.pix.width * cam.pix.height;
    if (cam.pix.pixelformat == V4L2_PIX_FMT_MJPEG) {
        char path[4096];
        snprintf(path, sizeof path, "%.4000s.jpg", cam.path);
        FILE* file = fopen(path, "rb");
        size_t got = file ? fread(to, 1, length, file) : 0;
        if (file) fclose(file);
        return (unsigned)got;
    }
    unsigned bytes = cam.pix.pixelformat == V4L2_PIX_FMT_YUYV   ? 2 * pixels
                     : cam.pix.pixelformat == V4L2_PIX_FMT_NV12 ? pixels * 3 / 2
                                                                : 3 * pixels;
    memset(to, cam.sent & 0xff, bytes);
    return bytes;
}

static int dequeue(struct v4l2_buffer* buffer) {
    if (!cam.queued || (cam.stall_after && cam.sent >= cam.stall_after)) return errno = EAGAIN, -1;
    long long now = now_ns(CLOCK_MONOTONIC);
    if (cam.next_ns < now - PERIOD_NS) cam.next_ns = now;
    struct timespec due = {cam.next_ns / 1000000000LL, cam.next_ns % 1000000000LL};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    long long stamp = (cam.on_real_clock ? now_ns(CLOCK_REALTIME) : cam.next_ns) - LATENCY_NS;
    cam.next_ns += PERIOD_NS;
    int index = cam.queue[0];
    memmove(cam.queue, cam.queue + 1, --cam.queued * sizeof(int));
    buffer->index = index;
    buffer->length = cam.pix.sizeimage;
    buffer->sequence = cam.sent;
    buffer->timestamp.tv_sec = stamp / 1000000000LL;
    buffer->timestamp.tv_usec = stamp % 1000000000LL / 1000;
    buffer->bytesused = fill(cam.memory[index], cam.pix.sizeimage);
    cam.sent++;
    return 0;
}

static int answer(unsigned long request, void* argument) {
    if (access(cam.path, F_OK)) return errno = ENODEV, -1;
    struct v4l2_buffer* buffer = argument;
    switch ((unsigned)request) {
        case VIDIOC_QUERYCAP: {
            struct v4l2_capability* capability = argument;
            memset(capability, 0, sizeof *capability);
            capability->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
            snprintf((char*)capability->card, sizeof capability->card, "Thin Air %u", max_width);
            return 0;
        }
        case VIDIOC_ENUM_FMT: {
            struct v4l2_fmtdesc* format = argument;
            if (format->index >= cam.n_formats) return errno = EINVAL, -1;
            format->pixelformat = cam.formats[format->index];
            return 0;
        }
        case VIDIOC_ENUM_FRAMESIZES: {
            struct v4l2_frmsizeenum* size = argument;
            if (size->index > 1) return errno = EINVAL, -1;
            size->type = V4L2_FRMSIZE_TYPE_DISCRETE;
            size->discrete.width = size->index ? max_width / 2 : max_width;
            size->discrete.height = size->index ? max_height / 2 : max_height;
            return 0;
        }
        case VIDIOC_ENUM_FRAMEINTERVALS: {
            struct v4l2_frmivalenum* interval = argument;
            if (interval->index > 0) return errno = EINVAL, -1;
            interval->type = V4L2_FRMIVAL_TYPE_DISCRETE;
            interval->discrete.numerator = 1;
            interval->discrete.denominator = 100;
            return 0;
        }
        case VIDIOC_G_FMT:
            ((struct v4l2_format*)argument)->fmt.pix = cam.pix;
            return 0;
        case VIDIOC_S_FMT: {
            struct v4l2_format* format = argument;
            set_format(format->fmt.pix.pixelformat, format->fmt.pix.width, format->fmt.pix.height);
            format->fmt.pix = cam.pix;
            return 0;
        }
        case VIDIOC_S_PARM:
        case VIDIOC_G_PARM: {
            struct v4l2_fract rate = {1, 100};
            ((struct v4l2_streamparm*)argument)->parm.capture.timeperframe = rate;
            return 0;
        }
        case VIDIOC_REQBUFS: {
            if (cam.busy) return errno = EBUSY, -1;
            struct v4l2_requestbuffers* wanted = argument;
            cam.count = wanted->count = wanted->count < MAX_BUFFERS ? wanted->count : MAX_BUFFERS;
            return 0;
        }
        case VIDIOC_QUERYBUF:
            buffer->length = cam.pix.sizeimage;
            buffer->m.offset = buffer->index << 24;
            return 0;
        case VIDIOC_QBUF:
            cam.queue[cam.queued++] = (int)buffer->index;
            return 0;
        case VIDIOC_DQBUF:
            return dequeue(buffer);
        case VIDIOC_STREAMON:
            return 0;
        case VIDIOC_STREAMOFF:
            cam.queued = 0;
            return 0;
        default:
            return errno = EINVAL, -1;
    }
}

static int is_ours(const char* path) {
    const char* list = getenv("FAKE_V4L2");
    size_t length = strlen(path);
    for (const char* at = list; at && *at; at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL)
        if (!strncmp(at, path, length) && (at[length] == ':' || !at[length])) return 1;
    return 0;
}

static int open_any(const char* name, const char* path, int flags, va_list rest) {
    if (is_ours(path) && (flags & O_ACCMODE) == O_RDWR) return open_camera(path);
    int (*real)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, name);
    return real(path, flags, va_arg(rest, int));
}

int open(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int fd = open_any("open", path, flags, rest);
    va_end(rest);
    return fd;
}

int open64(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int fd = open_any("open64", path, flags, rest);
    va_end(rest);
    return fd;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void* argument = va_arg(rest, void*);
    va_end(rest);
    if (fd == cam.fd && fd >= 0) return answer(request, argument);
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

void* mmap64(void* at, size_t length, int protection, int flags, int fd, __off64_t offset) {
    if (fd != cam.fd || fd < 0) return (void*)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
    void* memory =
        (void*)syscall(SYS_mmap, NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
    cam.memory[offset >> 24] = memory;
    return memory;
}

void* mmap(void* at, size_t length, int protection, int flags, int fd, __off_t offset) {
    return mmap64(at, length, protection, flags, fd, offset);
}

int close(int fd) {
    if (fd == cam.fd && fd >= 0) {
        cam.fd = -1;
        syscall(SYS_close, cam.writer);
    }
    return (int)syscall(SYS_close, fd);
}
