// What runs inside a lab guest. One process, one thread per service, no library but libc's: it is
// linked statically into an initramfs.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace homeport::lab::guest {

/// Milliseconds the guest has run: tells that it went on, and did not start again.
struct Counter {
  std::atomic<std::uint64_t> value{0};
  void work();
};

/// TCP: reads StreamHeader and the stream it announces, checks each byte, sends it back.
struct StreamService {
  std::atomic<std::uint64_t> bytes{0}, mismatches{0}, connections{0};
  void serve(std::uint16_t port);

 private:
  void converse(int socket);
};

/// UDP: sends each numbered datagram back and counts the distinct numbers.
struct DatagramService {
  std::atomic<std::uint64_t> distinct{0};
  void serve(std::uint16_t port);
};

/// A region of half-compressible pages, part of it rewritten at a steady rate.
class MemoryWriter {
 public:
  /// Fills the region (blocking), then starts rewriting.
  void start(std::uint64_t region_mib, std::uint64_t hot_mib, std::uint64_t mib_per_second);
  /// Compares every page with what was written last; adds to `mismatches`.
  void check();

  std::atomic<std::uint64_t> written_bytes{0}, mismatches{0}, pages{0};

 private:
  void work();

  std::uint64_t* region_ = nullptr;
  std::uint32_t* versions_ = nullptr;
  std::uint64_t hot_pages_ = 0, bytes_per_second_ = 0;
  std::atomic_flag busy_;  // writer or checker
};

/// Reads /dev/vda with O_DIRECT, over and over, each time other disk pages into the same memory,
/// so that a page that was captured before its data arrived holds the wrong page's contents.
class DiskReader {
 public:
  void start(std::uint64_t buffer_mib);
  void check();

  std::atomic<std::uint64_t> pages{0}, mismatches{0};
  std::string first_mismatch();

 private:
  void work();
  void compare(std::uint64_t slot, const char* when);

  std::uint8_t* buffer_ = nullptr;
  std::uint64_t* read_from_ = nullptr;  // disk page each page of the buffer was read from
  std::uint64_t slots_ = 0, disk_pages_ = 0;
  int disk_ = -1;
  std::atomic_flag busy_;      // reader or checker
  std::atomic_flag checking_;  // the reader stands aside
  std::atomic<bool> noted_{false};
  std::string note_;
};

/// All of it, and the control port.
class Worker {
 public:
  [[noreturn]] void run();

 private:
  std::string answer(const std::string& command);
  std::string status();

  std::string boot_id_;
  Counter counter_;
  StreamService streams_;
  DatagramService datagrams_;
  MemoryWriter memory_;
  DiskReader disk_;
};

/// A listening TCP or bound UDP socket on both families.
int open_service(int type, std::uint16_t port);
bool send_all(int socket, const void* data, std::size_t size);
/// False at the end of the stream or on an error.
bool receive_all(int socket, void* data, std::size_t size);

}  // namespace homeport::lab::guest
