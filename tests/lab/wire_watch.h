// By which way, and with which mark, each datagram of a flow came to a host.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "tests/lab/namespace.h"

namespace homeport::lab {

/// Lives on the switch's end of a link, for as long as the object, and notes from which host each
/// numbered datagram was sent to the link's member. It looks at frames where they pass, and has no
/// copy of them made as a packet socket has: that would be a way on which they overtake each other.
class WireWatch {
 public:
  /// Numbers from this on are not noted.
  static constexpr std::uint64_t kMost = 1 << 20;

  WireWatch(const Namespace& inside, const std::string& device);
  ~WireWatch();
  WireWatch(const WireWatch&) = delete;
  WireWatch& operator=(const WireWatch&) = delete;

  /// The outer source address in network order; 0: it has not come this way.
  std::uint32_t source(std::uint64_t number) const;
  /// How many of them have come with each code point (DSCP) in the outer header.
  std::map<unsigned, std::uint64_t> code_points() const;

 private:
  struct Program;
  std::unique_ptr<Program> program_;
};

}  // namespace homeport::lab
