// A file whose content arrives only when the test lets it: reads of it wait, as those of a slow
// disk do. A FUSE server of one file, spoken without a library (Linux, include/uapi/linux/fuse.h).
#pragma once

#include "overlay/link/unique_fd.h"

#include <atomic>
#include <cstddef>
#include <semaphore>
#include <string>
#include <thread>

namespace homeport::migration {

class SlowFile {
 public:
  /// Every byte of the file is `value`.
  SlowFile(std::size_t size, std::byte value);
  SlowFile(const SlowFile&) = delete;
  SlowFile& operator=(const SlowFile&) = delete;
  ~SlowFile();

  /// In a child of the test: mounts the file, in a mount namespace that goes with the child, and
  /// opens it for direct I/O. -1 on failure.
  int open_in_child() const;

  /// Waits until a read has reached the server: its pages are pinned. False after 20 seconds.
  bool await_read();
  /// Lets the content of that read arrive.
  void answer_read() { answers_.release(); }

 private:
  void serve();
  bool handle(const std::byte* request);

  std::size_t size_;
  std::byte value_;
  std::string mount_point_;
  overlay::UniqueFd connection_;
  std::counting_semaphore<> reads_{0};
  std::counting_semaphore<> answers_{0};
  std::atomic<bool> stop_{false};
  std::thread server_;
};

}  // namespace homeport::migration
