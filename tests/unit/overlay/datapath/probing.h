// Asks by a host's datapath, and waits for the answers.
#pragma once

#include "overlay/datapath/probe_frame.h"
#include "tests/unit/overlay/datapath/fabric.h"

#include <poll.h>

#include <map>
#include <optional>
#include <utility>

namespace homeport::overlay {

class Asker {
 public:
  explicit Asker(Host& host) : host_(host) { restart(); }

  /// With what is left of the host's datapath, after Host::restart().
  void restart() {
    wire_.reset();
    wire_ = host_.inside.run([&] { return host_.datapath->probe_wire().value(); });
  }

  ProbeWire& wire() { return *wire_; }
  Result<void> ask(const ProbeAsk& ask) {
    return host_.inside.run([&] { return wire_->ask(ask); });
  }

  /// Of the ask with that token; nullopt: none comes in time. Others that have come are kept.
  std::optional<ProbeAnswer> answer(std::uint64_t token, int milliseconds = 5000) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
    while (true) {
      wire_->take_answers([&](const ProbeAnswer& each) { answers_.insert({each.token, each}); });
      if (auto found = answers_.find(token); found != answers_.end()) return found->second;
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
      if (left.count() <= 0) return std::nullopt;
      pollfd events{wire_->answers_fd(), POLLIN, 0};
      ::poll(&events, 1, static_cast<int>(left.count()));
    }
  }
  bool answered(std::uint64_t token) { return answers_.contains(token); }

  /// The same, asked again until there is one: at first a neighbor may not be known, nor a switch
  /// know its tunnels.
  std::optional<ProbeAnswer> probe(const ProbePair& pair, std::uint32_t size = 0) {
    std::optional<ProbeAnswer> found;
    eventually([&] {
      const std::uint64_t token = next_token();
      if (!ask({pair, token, size})) return false;
      found = answer(token, 500);
      return found.has_value();
    });
    return found;
  }

  std::uint64_t next_token() { return ++token_; }

  /// Of what has come to this host on that pair; 0: nothing.
  std::uint64_t heard(const ProbePair& pair) {
    for (const ProbesHeard& each : wire_->heard().value()) {
      if (each.pair == pair) return each.count;
    }
    return 0;
  }
  /// None: it is the way of no path.
  std::optional<WayUsed> used(const ProbePair& pair) {
    for (const WayUsed& each : wire_->used().value()) {
      if (each.pair == pair) return each;
    }
    return std::nullopt;
  }

 private:
  Host& host_;
  std::unique_ptr<ProbeWire> wire_;
  std::multimap<std::uint64_t, ProbeAnswer> answers_;
  std::uint64_t token_ = 0xabcdef0000000000;
};

/// Of the destination address in a datagram of a probe: what an ask is turned into.
inline std::string as_answer(std::string datagram) {
  datagram.at(8 + 5) = 3;
  return datagram;
}

/// Sends a host's VXLAN port a datagram as it is, from an address of another.
inline void send_raw(const Host& from, const ProbePair& pair, const std::string& datagram) {
  Socket socket(from.inside, pair.local.is_v6());
  socket.send(pair.remote, kUdpPort, datagram, pair.local);
}

}  // namespace homeport::overlay
