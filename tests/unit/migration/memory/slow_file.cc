#include "slow_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace homeport::migration {
namespace {

constexpr std::size_t kRequestSize = 1 << 20;

void reply(int connection, std::uint64_t unique, int error, const void* body, std::size_t size) {
  fuse_out_header header{};
  header.len = static_cast<std::uint32_t>(sizeof header + size);
  header.error = -error;
  header.unique = unique;
  iovec parts[2] = {{&header, sizeof header}, {const_cast<void*>(body), size}};
  // ENOENT: whoever asked has gone.
  if (::writev(connection, parts, size == 0 ? 1 : 2) < 0 && errno != ENOENT && errno != ENODEV) {
    throw std::runtime_error("answering a FUSE request failed");
  }
}

}  // namespace

SlowFile::SlowFile(std::size_t size, std::byte value) : size_(size), value_(value) {
  char name[] = "/tmp/homeport-slow-file-XXXXXX";
  int fd = ::mkstemp(name);
  if (fd < 0) throw std::runtime_error("mkstemp");
  ::close(fd);
  mount_point_ = name;
  connection_.reset(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!connection_) throw std::runtime_error("/dev/fuse");
}

SlowFile::~SlowFile() {
  stop_ = true;
  answers_.release(100);
  if (server_.joinable()) server_.join();
  ::unlink(mount_point_.c_str());
}

int SlowFile::open_in_child() const {
  std::string options =
      fmt::format("fd={},rootmode=100000,user_id=0,group_id=0", connection_.get());
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("homeport-test", mount_point_.c_str(), "fuse", MS_NOSUID | MS_NODEV,
              options.c_str()) != 0) {
    return -1;
  }
  return ::open(mount_point_.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
}

bool SlowFile::await_read() {
  // Only now, so that the child was forked from a process without threads.
  if (!server_.joinable()) server_ = std::thread([this] { serve(); });
  return reads_.try_acquire_for(std::chrono::seconds(20));
}

void SlowFile::serve() {
  std::vector<std::byte> request(kRequestSize);
  while (!stop_) {
    pollfd waiting{connection_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 100) <= 0) continue;
    ssize_t size = ::read(connection_.get(), request.data(), request.size());
    if (size < 0 && errno == ENODEV) return;  // unmounted
    if (size < static_cast<ssize_t>(sizeof(fuse_in_header))) continue;
    if (!handle(request.data())) return;
  }
}

bool SlowFile::handle(const std::byte* request) {
  const auto& header = *reinterpret_cast<const fuse_in_header*>(request);
  const std::byte* body = request + sizeof header;
  auto answer = [&](const void* data, std::size_t size) {
    reply(connection_.get(), header.unique, 0, data, size);
  };
  switch (header.opcode) {
    case FUSE_INIT: {
      fuse_init_out out{};
      out.major = FUSE_KERNEL_VERSION;
      out.minor = FUSE_KERNEL_MINOR_VERSION;
      out.flags = FUSE_MAX_PAGES;
      out.max_pages = 256;
      out.max_write = 4096;
      out.time_gran = 1;
      answer(&out, sizeof out);
      break;
    }
    case FUSE_GETATTR: {
      fuse_attr_out out{};
      out.attr_valid = 60;
      out.attr.ino = 1;
      out.attr.size = size_;
      out.attr.mode = S_IFREG | 0600;
      out.attr.nlink = 1;
      answer(&out, sizeof out);
      break;
    }
    case FUSE_OPEN: {
      fuse_open_out out{};
      out.open_flags = FOPEN_DIRECT_IO;
      answer(&out, sizeof out);
      break;
    }
    case FUSE_READ: {
      const auto& in = *reinterpret_cast<const fuse_read_in*>(body);
      std::size_t left = in.offset < size_ ? size_ - in.offset : 0;
      std::vector<std::byte> content(std::min<std::size_t>(in.size, left), value_);
      reads_.release();
      answers_.acquire();
      if (stop_) return false;
      answer(content.data(), content.size());
      break;
    }
    case FUSE_FLUSH:
    case FUSE_RELEASE:
      answer(nullptr, 0);
      break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
      break;  // want no answer
    default:
      reply(connection_.get(), header.unique, ENOSYS, nullptr, 0);
  }
  return true;
}

}  // namespace homeport::migration
