// Classes of traffic by rules for ports, of the eBPF programs: frames that are cut short, or in
// which anything may be, against what RFC 791 and RFC 8200 say of them.
#include "tests/unit/overlay/datapath/fabric.h"
#include "tests/unit/overlay/datapath/frames.h"
#include "tests/unit/overlay/datapath/outer.h"
#include "tests/unit/overlay/datapath/transport.h"

#include <gtest/gtest.h>

#include <random>

namespace homeport::overlay {
namespace {

const BpfFileSystem& bpf() {
  static const BpfFileSystem file_system;
  return file_system;
}

constexpr std::size_t kBefore = 14;

std::size_t byte_at(const std::string& frame, std::size_t at) {
  return static_cast<std::uint8_t>(frame.at(at));
}

/// Whether its class is that of the rules, which are for every port; by the bytes of the frame.
bool has_ports(const std::string& frame) {
  std::size_t at = kBefore, end = frame.size();
  std::uint8_t protocol = 0;
  if (read16(frame, 12) == 0x0800) {
    if (frame.size() < at + 20 || (byte_at(frame, at) & 15) < 5) return false;
    if ((read16(frame, at + 6) & 0x3fff) != 0) return false;
    if (const unsigned length = read16(frame, at + 2)) end = kBefore + length;
    protocol = static_cast<std::uint8_t>(byte_at(frame, at + 9));
    at += (byte_at(frame, at) & 15) * 4;
  } else {
    if (frame.size() < at + 40) return false;
    if (const unsigned length = read16(frame, at + 4)) end = kBefore + 40 + length;
    protocol = static_cast<std::uint8_t>(byte_at(frame, at + 6));
    at += 40;
    for (int extensions = 0;
         protocol == 0 || protocol == 43 || protocol == 44 || protocol == 51 || protocol == 60;
         ++extensions) {
      if (extensions == 4 || frame.size() < at + 4) return false;
      if (protocol == 44 && read16(frame, at + 2) != 0) return false;
      const std::size_t length = byte_at(frame, at + 1);
      const std::size_t size = protocol == 44   ? 8
                               : protocol == 51 ? (length + 2) * 4
                                                : (length + 1) * 8;
      protocol = static_cast<std::uint8_t>(byte_at(frame, at));
      at += size;
    }
  }
  const std::size_t header = protocol == 6 ? 20 : protocol == 17 ? 8 : protocol == 132 ? 12 : 0;
  return header != 0 && at + header <= end && end <= frame.size();
}

/// More than four of them in front: the datapath takes such a packet for one that hides something.
bool hides(const std::string& frame) {
  std::size_t at = kBefore + 40;
  if (read16(frame, 12) != 0x86dd || frame.size() < at) return false;
  std::size_t next = byte_at(frame, kBefore + 6);
  for (int extensions = 0; next == 0 || next == 43 || next == 60; ++extensions) {
    if (extensions == 4) return true;
    if (frame.size() < at + 2) return false;
    next = byte_at(frame, at);
    at += (byte_at(frame, at + 1) + 1) * 8;
  }
  return false;
}

class RuledPrograms : public testing::Test {
 protected:
  RuledPrograms() {
    fabric_.host(1).desired.ports[0].traffic_class = policy::TrafficClass::bulk;
    for (const std::uint8_t protocol : {6, 17, 132}) {
      fabric_.host(1).desired.port_rules.push_back(
          {{protocol, 1, 65535}, policy::TrafficClass::interactive});
    }
    fabric_.host(1).apply().value();
    let_options_out(one_);
  }

  /// `frame` is seen outside with the class that it should have.
  void look_at(const std::string& frame) {
    send_frame(one_, frame);
    const std::string rest = frame.substr(kBefore);
    std::optional<Outer> outer;
    wire_.next([&](const std::string& seen) {
      if (seen.ends_with(rest)) outer = outer_of(seen, rest);
      return outer.has_value();
    });
    ASSERT_TRUE(outer) << "not seen outside: " << testing::PrintToString(frame);
    EXPECT_EQ(outer->dscp, has_ports(frame) ? 18u : 1u) << testing::PrintToString(frame);
  }

  std::string frame(const Transport& packet) {
    return frame_of(packet, two_.mac, one_.mac, packet.v6 ? one_.v6 : one_.v4,
                    packet.v6 ? two_.v6 : two_.v4);
  }

  Fabric fabric_{bpf(), 2};
  App& one_ = fabric_.app(1);
  App& two_ = fabric_.app(2);
  Sniffer wire_ = fabric_.sniffer(1);
};

TEST_F(RuledPrograms, FramesThatAreCutAnywhere) {
  for (const std::uint8_t protocol : {6, 17, 132}) {
    for (const Transport& packet :
         {Transport{.protocol = protocol}, Transport{.protocol = protocol, .options = 8},
          Transport{.v6 = true, .protocol = protocol},
          Transport{.v6 = true, .protocol = protocol, .extensions = {0, 44}}}) {
      const std::string whole = frame(packet);
      for (std::size_t length = kBefore + (packet.v6 ? 40 : 20); length <= whole.size(); ++length) {
        std::string cut = whole.substr(0, length);
        ASSERT_NO_FATAL_FAILURE(look_at(cut));
        // What it says of its length is true.
        const std::size_t told = length - kBefore - (packet.v6 ? 40 : 0);
        cut.replace(packet.v6 ? 18 : 16, 2, be16(static_cast<unsigned>(told)));
        ASSERT_NO_FATAL_FAILURE(look_at(cut));
      }
    }
  }
}

TEST_F(RuledPrograms, WhateverHeadersSay) {
  std::mt19937 random(18545);
  const std::vector<std::uint8_t> kinds = {0, 43, 44, 51, 60, 6, 17, 132, 59};
  const auto any = [&](std::size_t below) { return random() % below; };
  for (int i = 0; i < 500; ++i) {
    Transport packet{.v6 = any(4) != 0, .protocol = kinds[any(kinds.size())]};
    for (std::size_t n = any(7); n > 0; --n) packet.extensions.push_back(kinds[any(5)]);
    packet.data = std::string(any(30), 'x');
    std::string bytes = frame(packet);
    // But for what would make it another's, too long, or of a class by its code point.
    const std::size_t first = packet.v6 ? kBefore + 40 : kBefore + 34;
    for (std::size_t changes = any(4); changes > 0 && bytes.size() > first; --changes) {
      bytes[first + any(bytes.size() - first)] = static_cast<char>(any(2) ? any(4) : any(256));
    }
    bytes += be16(static_cast<unsigned>(i));
    if (hides(bytes)) continue;
    SCOPED_TRACE(describe(packet));
    ASSERT_NO_FATAL_FAILURE(look_at(bytes));
  }
}

}  // namespace
}  // namespace homeport::overlay
