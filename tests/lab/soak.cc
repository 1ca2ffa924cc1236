// Many moves in a row under traffic, with kills at random moments: what an operator's year does to
// a fleet, in half an hour. Ends with status 0 only if every promise held.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/lab/account.h"
#include "tests/lab/failure.h"
#include "tests/lab/fault.h"

namespace homeport::lab {
namespace {

struct SoakOptions {
  unsigned moves = 200;
  unsigned minutes = 20;       ///< at least, with more moves where those are done sooner
  unsigned kill_percent = 30;  ///< of the moves
  std::uint64_t seed = 1;
};

struct SoakMove {
  std::string state;   ///< of the task
  std::string killed;  ///< whom, empty: nobody
  Clock::time_point started;
  std::uint64_t lost = 0;
};

/// Private memory of one run of an agent in MiB, at every rest.
using Life = std::vector<double>;

/// In moves. An agent at rest gives back what moves have left in its heap.
constexpr unsigned kRestEvery = 5;
constexpr auto kRest = 4s;

class Soak {
 public:
  explicit Soak(const SoakOptions& options) : options_(options), random_(options.seed) {
    fleet_.guest().write_memory(32, 4, 5);
    before_ = fleet_.guest().status();
    stream_ = std::make_unique<StreamClient>(lab().client(), fleet_.options().ipv4,
                                             lab().directory() / "stream.log", 64);
    datagrams_ = std::make_unique<DatagramClient>(lab().client(), fleet_.options().ipv4,
                                                  lab().directory() / "datagrams.log");
    stream_->wait_progress(64 * 1024, 30s);
    datagrams_->wait_progress(500, 30s);
  }

  void run() {
    const auto until = Clock::now() + std::chrono::minutes(options_.minutes);
    for (unsigned i = 0; i < options_.moves || Clock::now() < until; ++i) {
      const SoakMove& move = moves_.emplace_back(one_move());
      std::fprintf(stderr, "move %u: %s%s%s\n", i + 1, move.state.c_str(),
                   move.killed.empty() ? "" : ", killed: ", move.killed.c_str());
    }
  }

  /// Prints the figures; true if all that must hold did.
  bool report();

 private:
  Lab& lab() { return fleet_.lab(); }

  unsigned below(unsigned limit) {
    return std::uniform_int_distribution<unsigned>(0, limit - 1)(random_);
  }

  SoakMove one_move() {
    Host& source = fleet_.wait_somewhere(60s);
    const HeldMove move{fleet_, source, fleet_.other_than(source)};
    SoakMove done;
    done.started = Clock::now();
    const unsigned victim = below(100) < options_.kill_percent ? below(4) : kNobody;
    if (victim == kDestinationGuest) source.hold_at("copying");
    auto waiting = ask_for_move(move.destination);
    if (victim != kNobody) done.killed = kill(victim, move);
    done.state = end_of_move(move);
    waiting->kill();
    fleet_.wait_settled(fleet_.wait_somewhere(60s), 60s);
    fleet_.guest().check_memory();
    datagrams_->wait_progress(100, 30s);
    // Ended tasks would be most of what an agent remembers.
    if (moves_.size() % 10 == 9) lab().homeport_checked("task remove --ended");
    if (moves_.size() % kRestEvery == kRestEvery - 1) weigh();
    return done;
  }

  /// A database that has just been started again has not heard of every host yet, and a move to one
  /// that is silent is refused.
  std::unique_ptr<Process> ask_for_move(const Host& to) {
    const std::size_t before = fleet_.tasks().size();
    std::unique_ptr<Process> waiting;
    wait_until(
        [&] {
          waiting = fleet_.start_move(to);
          return fleet_.tasks().size() > before;
        },
        60s, "a move to be accepted", [&] { return waiting->log_tail(); });
    return waiting;
  }

  static constexpr unsigned kDestinationGuest = 2, kNobody = 4;

  /// At any moment of the move; all but the guest itself, whose end no move survives. That is why
  /// the one made at the destination is killed while the move is held before it takes over.
  std::string kill(unsigned victim, const HeldMove& move) {
    if (victim == kDestinationGuest) {
      move.source.wait_held();
      move.destination.signal_guest(fleet_.options().name, SIGKILL);
      move.source.release();
      return "the guest made at the destination";
    }
    let_pass(std::chrono::milliseconds(below(2500)));
    switch (victim) {
      case 0:
        return restart(move.source);
      case 1:
        return restart(move.destination);
      default:
        lab().database().stop();
        lab().database().start();
        return "the database";
    }
  }

  std::string restart(Host& host) {
    host.kill_agent();
    host.start_agent();
    host.wait_ready(60s);
    lives_[host.name()].emplace_back();
    return "the agent of " + host.name();
  }

  void weigh() {
    let_pass(kRest);
    for (Host* host : lab().hosts()) {
      lives_[host->name()].back().push_back(private_mib(host->agent().pid()));
    }
  }

  void attribute_losses(const DatagramReport& numbered, std::uint64_t guest_drops);
  bool print_memory(boost::json::object& figures) const;

  SoakOptions options_;
  std::mt19937_64 random_;
  Fleet fleet_{{.name = "soak", .rate_mbit = 1000, .holdable = true}};
  GuestStatus before_;
  std::unique_ptr<StreamClient> stream_;
  std::unique_ptr<DatagramClient> datagrams_;
  std::vector<SoakMove> moves_;
  std::map<std::string, std::vector<Life>> lives_{
      {"hostA", {{}}}, {"hostB", {{}}}, {"hostC", {{}}}};
};

void Soak::attribute_losses(const DatagramReport& numbered, std::uint64_t guest_drops) {
  std::vector<Clock::time_point> starts;
  for (const SoakMove& move : moves_) starts.push_back(move.started);
  const auto losses = losses_per_move(numbered, lab().taps(), starts, guest_drops);
  for (std::size_t i = 0; i < moves_.size(); ++i) {
    moves_[i].lost = losses[i].all();
    if (moves_[i].lost == 0) continue;
    fmt::print("move {}{}: lost {}\n", i + 1,
               moves_[i].killed.empty() ? "" : " (" + moves_[i].killed + " was killed)",
               losses[i].to_string());
  }
}

/// Flat: an agent's memory at its last rest is no more than a little above what it was at its
/// second, when every buffer had been needed once (at the first it may just have been started).
bool Soak::print_memory(boost::json::object& figures) const {
  constexpr std::size_t kLongEnough = 6;  // rests; less does not tell growth from noise
  constexpr double kMibPerMove = 0.05;
  bool flat = true;
  for (const auto& [host, lives] : lives_) {
    double worst = 0;
    std::size_t longest = 0;
    double first = 0, last = 0;
    for (const Life& life : lives) {
      if (life.size() < kLongEnough) continue;
      const auto moves = static_cast<double>((life.size() - 2) * kRestEvery);
      worst = std::max(worst, (life.back() - life[1]) / moves);
      if (life.size() <= longest) continue;
      longest = life.size();
      first = life[1];
      last = life.back();
    }
    if (longest == 0) {
      fmt::print("agent of {}: {} lives, each too short to tell growth from noise\n", host,
                 lives.size());
      continue;
    }
    flat = flat && worst <= kMibPerMove;
    fmt::print(
        "agent of {}: {:.1f} MiB of its own at first, {:.1f} after {} moves; {} lives, of which "
        "one grew by {:.3f} MiB a move\n",
        host, first, last, longest * kRestEvery, lives.size(), worst);
    figures["memory_mib_" + host] = boost::json::array{first, last};
  }
  return flat;
}

bool Soak::report() {
  const DatagramReport numbered = datagrams_->finish();
  const StreamReport checked = stream_->finish();
  const GuestStatus now = fleet_.guest().status();
  attribute_losses(numbered, now.datagram_drops - before_.datagram_drops);
  std::map<std::string, unsigned> states;
  std::uint64_t killed = 0, lost_unprovoked = 0, lost_with_kill = 0;
  for (const SoakMove& move : moves_) {
    ++states[move.state];
    killed += move.killed.empty() ? 0 : 1;
    (move.killed.empty() ? lost_unprovoked : lost_with_kill) += move.lost;
  }
  const std::uint64_t mismatches =
      checked.mismatches + now.stream_mismatches + now.memory_mismatches;
  fmt::print("\n{} moves, somebody was killed in {}:", moves_.size(), killed);
  for (const auto& [state, count] : states) fmt::print(" {} {}", count, state);
  fmt::print(
      "\nTCP: {}, {} bytes checked; {} mismatches in the stream and in memory\n"
      "UDP: {} sent; lost in moves without a kill {}, with one {}\n"
      "guest: {}\n",
      checked.survived ? "one connection throughout" : "broken: " + checked.error,
      checked.checked_bytes, mismatches, numbered.all().sent, lost_unprovoked, lost_with_kill,
      now.boot_id == before_.boot_id ? "the same boot" : "ANOTHER BOOT");
  boost::json::object figures{{"moves", moves_.size()},
                              {"killed", killed},
                              {"mismatches", mismatches},
                              {"udp_sent", numbered.all().sent},
                              {"udp_lost_without_kill", lost_unprovoked},
                              {"udp_lost_with_kill", lost_with_kill},
                              {"tcp_survived", checked.survived}};
  const bool flat = print_memory(figures);
  std::puts(boost::json::serialize(figures).c_str());
  return checked.survived && mismatches == 0 && now.boot_id == before_.boot_id &&
         lost_unprovoked == 0 && flat;
}

int run(int argc, char** argv) {
  CLI::App app("Moves a VM many times under traffic and kills agents, database and the like.",
               "soak");
  SoakOptions options;
  app.add_option("--moves", options.moves, "How many, at least (default: 200)");
  app.add_option("--minutes", options.minutes, "For how long, at least (default: 20)");
  app.add_option("--kills", options.kill_percent, "Percent of moves with a kill (default: 30)")
      ->check(CLI::Range(0, 100));
  app.add_option("--seed", options.seed, "Of the random choices (default: 1)");
  CLI11_PARSE(app, argc, argv);
  end_waits_on_signals();
  try {
    Soak soak(options);
    soak.run();
    const bool held = soak.report();
    std::puts(held ? "1 passed, 0 failed" : "0 passed, 1 failed");
    return held ? 0 : 1;
  } catch (const LabFailure& failure) {
    std::fprintf(stderr, "soak: %s\n", failure.what());
    return 1;
  }
}

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  return homeport::lab::run(argc, argv);
}
