// What guest, clients and disk images agree on: ports and contents. Every word tells its own place,
// so that data from another place or another time is never taken for the right one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace homeport::lab {

/// Ports of the worker inside the guest.
inline constexpr std::uint16_t kGuestStreamPort = 7000;    ///< TCP: checks and echoes the pattern
inline constexpr std::uint16_t kGuestDatagramPort = 7001;  ///< UDP: echoes numbered datagrams
inline constexpr std::uint16_t kGuestControlPort = 7002;   ///< TCP: one command line, one JSON line

/// splitmix64 (Steele, Lea, Flood 2014): a good 64-bit mix, cheap enough for an emulated guest.
constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// The byte at `position` of the stream numbered `seed`.
constexpr std::uint8_t stream_byte(std::uint64_t seed, std::uint64_t position) {
  return static_cast<std::uint8_t>(mix(seed ^ (position / 8)) >> (8 * (position % 8)));
}

inline void fill_stream(std::uint64_t seed, std::uint64_t position, std::uint8_t* to,
                        std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) to[i] = stream_byte(seed, position + i);
}

/// How many of `size` bytes are not those of the stream at `position`.
inline std::uint64_t count_wrong(std::uint64_t seed, std::uint64_t position,
                                 const std::uint8_t* bytes, std::size_t size) {
  std::uint64_t wrong = 0;
  for (std::size_t i = 0; i < size; ++i) wrong += bytes[i] != stream_byte(seed, position + i);
  return wrong;
}

inline constexpr std::size_t kPageBytes = 4096;

/// A page that is about half compressible: its first half is the mix of (page, version), its
/// second half repeats one word.
inline void fill_page(std::uint64_t page, std::uint64_t version, std::uint64_t* words) {
  constexpr std::size_t count = kPageBytes / 8;
  const std::uint64_t base = mix(page) ^ (version << 32);
  for (std::size_t i = 0; i < count / 2; ++i) words[i] = mix(base + i);
  for (std::size_t i = count / 2; i < count; ++i) words[i] = base;
}

inline bool page_is(std::uint64_t page, std::uint64_t version, const std::uint64_t* words) {
  constexpr std::size_t count = kPageBytes / 8;
  const std::uint64_t base = mix(page) ^ (version << 32);
  for (std::size_t i = 0; i < count / 2; ++i) {
    if (words[i] != mix(base + i)) return false;
  }
  for (std::size_t i = count / 2; i < count; ++i) {
    if (words[i] != base) return false;
  }
  return true;
}

/// A numbered datagram, both ways, little endian.
struct DatagramHeader {
  static constexpr std::uint32_t kMagic = 0x31504d48;  // "HMP1"
  std::uint32_t magic = kMagic;
  std::uint32_t reserved = 0;
  std::uint64_t number = 0;
};

/// First bytes of a stream: which pattern follows.
struct StreamHeader {
  static constexpr std::uint64_t kMagic = 0x3153504d48ULL;  // "HMPS1"
  std::uint64_t magic = kMagic;
  std::uint64_t seed = 0;
};

}  // namespace homeport::lab
