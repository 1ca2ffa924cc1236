// The demonstration behind deploy/demo: a live VM moves to another host, back, and there again,
// while clients talk to it. Ends with status 0 only if nobody noticed.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "tests/lab/failure.h"
#include "tests/lab/fleet.h"

namespace homeport::lab {
namespace {

struct ShownMove {
  std::string from, to;
  bool succeeded = false;
  TaskView task;
  Clock::time_point started, ended;
  DatagramWindow clients;  ///< as the numbered stream went during the move
  std::uint64_t lost = 0;
};

struct Verdict {
  bool tcp_survived = false;
  bool guest_continued = false;
  bool same_address = false;
  std::uint64_t udp_sent = 0;
  std::uint64_t udp_lost = 0;
  double downtime_ms = 0;
  std::vector<ShownMove> moves;

  bool good() const {
    bool all_moved = !moves.empty();
    for (const auto& move : moves) all_moved = all_moved && move.succeeded;
    return tcp_survived && guest_continued && same_address && udp_lost == 0 && all_moved;
  }
};

void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

double rounded(double value) {
  return std::round(value * 10) / 10;
}

std::string mib(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

ShownMove show_move(Fleet& fleet, Host& from, Host& to) {
  say(fmt::format("\n$ homeport move {} --to {} --wait", fleet.options().name, to.name()));
  ShownMove move;
  move.from = from.name();
  move.to = to.name();
  move.started = Clock::now();
  const int status = fleet.show_move(to);
  move.ended = Clock::now();
  move.task = fleet.last_task();
  fleet.wait_settled(to);
  move.succeeded = status == 0 && move.task.state == "succeeded";
  return move;
}

void judge_datagrams(Fleet& fleet, const DatagramReport& report, std::uint64_t guest_drops,
                     Verdict& verdict) {
  const TapRecord& taps = fleet.lab().taps();
  verdict.udp_sent = report.all().sent;
  std::vector<Clock::time_point> starts;
  for (const ShownMove& move : verdict.moves) starts.push_back(move.started);
  const auto losses = losses_per_move(report, taps, starts, guest_drops);
  for (std::size_t i = 0; i < verdict.moves.size(); ++i) {
    ShownMove& move = verdict.moves[i];
    move.lost = losses[i].all();
    move.clients = report.window(move.started, move.ended);
    verdict.udp_lost += move.lost;
    verdict.downtime_ms = std::max(verdict.downtime_ms, move.clients.longest_gap_ms);
  }
  if (const LossPlaces all = locate_losses(report, taps); all.all() > 0) {
    say(fmt::format("Datagrams without an answer: {}.", all.to_string()));
  }
}

void print_table(const Verdict& verdict) {
  say(fmt::format("\n{:<16} {:>9} {:>12} {:>12} {:>9} {:>12} {:>12}", "move", "total", "stopped",
                  "client gap", "UDP lost", "sent", "RAM"));
  for (const auto& move : verdict.moves) {
    say(fmt::format("{:<16} {:>6} ms {:>9} ms {:>9.1f} ms {:>9} {:>12} {:>12}",
                    move.from + " -> " + move.to, move.task.total_ms, move.task.downtime_ms,
                    move.clients.longest_gap_ms, move.lost, mib(move.task.bytes_sent),
                    mib(move.task.ram_bytes)));
  }
  auto line = [](bool held, const std::string& what) {
    say(fmt::format("  {}  {}", held ? "yes" : "NO ", what));
  };
  say("");
  line(verdict.tcp_survived, "one TCP connection throughout, every byte right at both ends");
  line(verdict.guest_continued, "the guest went on: same boot, its counter kept counting");
  line(verdict.same_address, "the guest answered at the same addresses, IPv4 and IPv6");
  line(verdict.udp_lost == 0,
       fmt::format("{} of {} numbered UDP datagrams lost", verdict.udp_lost, verdict.udp_sent));
}

std::string to_json(const Verdict& verdict) {
  boost::json::array moves;
  for (const auto& move : verdict.moves) {
    moves.push_back(boost::json::object{{"from", move.from},
                                        {"to", move.to},
                                        {"total_ms", move.task.total_ms},
                                        {"downtime_ms", rounded(move.clients.longest_gap_ms)},
                                        {"udp_lost", move.lost},
                                        {"bytes_sent", move.task.bytes_sent},
                                        {"ram_bytes", move.task.ram_bytes}});
  }
  return boost::json::serialize(boost::json::object{{"tcp_survived", verdict.tcp_survived},
                                                    {"guest_continued", verdict.guest_continued},
                                                    {"udp_sent", verdict.udp_sent},
                                                    {"udp_lost", verdict.udp_lost},
                                                    {"downtime_ms", rounded(verdict.downtime_ms)},
                                                    {"moves", std::move(moves)}}) +
         "\n";
}

Verdict demonstrate(const FleetOptions& options, unsigned moves) {
  say("Making three hosts, a control database and a guest...");
  Fleet fleet(options);
  Lab& lab = fleet.lab();
  const GuestOptions& guest = fleet.options();
  say(fmt::format("{} runs on {}: {} MiB, {} and {}.", guest.name, fleet.a().name(),
                  guest.memory_mib, guest.ipv4, guest.ipv6));
  fleet.guest().write_memory(guest.memory_mib / 4, 4, 5);
  const GuestStatus before = fleet.guest().status();

  StreamClient stream(lab.client(), guest.ipv4, lab.directory() / "stream.log");
  DatagramClient datagrams(lab.client(), guest.ipv4, lab.directory() / "datagrams.log");
  stream.wait_progress(256 * 1024, 30s);
  datagrams.wait_progress(1000, 30s);
  say(
      fmt::format("On {}, one client keeps a checked TCP stream with it and another sends 1,000 "
                  "numbered UDP datagrams a second.",
                  fleet.c().name()));

  Verdict verdict;
  verdict.same_address = true;
  for (unsigned i = 0; i < moves; ++i) {
    Host& from = fleet.wait_somewhere();
    verdict.moves.push_back(show_move(fleet, from, fleet.other_than(from)));
    for (const auto& address : {guest.ipv4, guest.ipv6}) {
      const GuestStatus now = GuestControl(lab.client(), address).status();
      verdict.same_address = verdict.same_address && now.boot_id == before.boot_id;
    }
    stream.wait_progress(64 * 1024, 30s);
    datagrams.wait_progress(500, 30s);
  }

  const DatagramReport numbered = datagrams.finish();
  const StreamReport checked = stream.finish();
  fleet.guest().check_memory();
  const GuestStatus after = fleet.guest().status();
  verdict.tcp_survived = checked.survived && after.stream_mismatches == 0 &&
                         after.stream_connections == before.stream_connections + 1;
  verdict.guest_continued = after.boot_id == before.boot_id && after.counter > before.counter &&
                            after.memory_mismatches == 0;
  if (!checked.error.empty()) say("The TCP stream: " + checked.error);
  judge_datagrams(fleet, numbered, after.datagram_drops - before.datagram_drops, verdict);
  for (const auto& line : lab.complaints()) say("log: " + line);
  return verdict;
}

int run(int argc, char** argv) {
  CLI::App app("Moves a live VM between two lab hosts while clients talk to it.", "demo");
  std::string json;
  unsigned moves = 3;
  FleetOptions options{.name = "demo"};
  options.guest.memory_mib = 512;
  app.add_option("--json", json, "Write the figures to FILE")->type_name("FILE");
  app.add_option("--moves", moves, "How many moves (default: 3)")->check(CLI::Range(1, 1000));
  app.add_option("--rate", options.rate_mbit, "Each host's link in Mbit/s (default: 1000)");
  app.add_option("--memory", options.guest.memory_mib, "The guest's memory in MiB (default: 512)")
      ->check(CLI::Range(128, 16384));
  CLI11_PARSE(app, argc, argv);
  options.host_memory_mib = options.guest.memory_mib + 64;

  end_waits_on_signals();
  try {
    const Verdict verdict = demonstrate(options, moves);
    print_table(verdict);
    if (!json.empty()) write_text(json, to_json(verdict));
    say(verdict.good() ? "\nNobody noticed." : "\nSomebody noticed.");
    return verdict.good() ? 0 : 1;
  } catch (const LabFailure& failure) {
    std::fprintf(stderr, "demo: %s\n", failure.what());
    if (!json.empty()) write_text(json, to_json(Verdict{}));
    return 1;
  }
}

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  return homeport::lab::run(argc, argv);
}
