// The simulated hosts of the scale bench: many in one process, or one that knows every address.
#include "agent/process_figures.h"
#include "overlay/datapath/ebpf_datapath.h"
#include "overlay/log/log.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"
#include "tests/bench/scale/memory_datapath.h"
#include "tests/bench/scale/simulated_host.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <random>
#include <vector>

namespace {

using namespace homeport;
using namespace homeport::bench;
using namespace std::chrono_literals;
namespace asio = boost::asio;

double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

std::uint64_t resident() {
  return agent::process_figures().resident_bytes;
}

/// Of this process so far, in seconds.
double processor_time() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(format, std::forward<Args>(args)...);
  std::fflush(stdout);
}

struct FleetArguments {
  std::string remotes, report;
  unsigned first = 0, step = 1, count = 0;
  std::uint16_t first_port = 0;
  double moves_per_second = 0, duration = 0;
};

void write_events(std::ofstream& file, char kind, const std::vector<Event>& events) {
  for (const Event& event : events) {
    file << fmt::format("{} {} {} {} {} {:.6f}\n", kind, event.host, event.vni,
                        event.mac.to_string(), event.generation,
                        seconds(event.at.time_since_epoch()));
  }
}

class Fleet {
 public:
  Fleet(asio::io_context& io, const FleetArguments& arguments)
      : io_(io),
        arguments_(arguments),
        input_(io, ::dup(STDIN_FILENO)),
        post_(io.get_executor(), arguments.first_port, arguments.step, arguments.first,
              [this](const Letter& letter) {
                auto host = by_name_.find(letter.to);
                if (host != by_name_.end()) host->second->receive(letter);
              }) {
    for (unsigned i = 0; i < arguments.count; ++i) {
      const std::string name = fmt::format("host{}", arguments.first + i * arguments.step);
      hosts_.push_back(std::make_unique<SimulatedHost>(
          io.get_executor(), arguments.remotes, name,
          [this](const Letter& letter) { post_.send(letter); }, known_));
      by_name_[name] = hosts_.back().get();
    }
  }

  /// Told by lines on standard input how to go on, and says where it is by lines.
  asio::awaitable<void> run() {
    const auto begun = Clock::now();
    for (auto& host : hosts_) host->start();
    while (!std::ranges::all_of(hosts_, [](const auto& host) { return host->ready(); })) {
      co_await overlay::pause(50ms);
    }
    for (auto& host : hosts_) overlay::spawn(io_.get_executor(), host->live());
    ::malloc_trim(0);
    say("ready {:.3f} {}\n", seconds(Clock::now() - begun), resident());
    co_await line();
    co_await move(moves_);
    say("moved {}\n", moves_.size());
    // From here on others hear of moves not only from the database.
    co_await line();
    for (auto& host : hosts_) host->tell_others();
    co_await move(told_moves_);
    say("moved {}\n", told_moves_.size());
    co_await line();
    report();
    io_.stop();
  }

 private:
  asio::awaitable<void> line() {
    co_await asio::async_read_until(input_, lines_, '\n', asio::use_awaitable);
    lines_.consume(lines_.size());
  }

  asio::awaitable<void> move(std::vector<Event>& moves) {
    std::mt19937_64 random(arguments_.first + 1);
    // As if nobody knew of each other: at regular intervals all processes would move at once.
    std::exponential_distribution<> intervals(arguments_.moves_per_second);
    auto interval = [&] {
      return std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<double>(intervals(random)));
    };
    const auto begun = Clock::now();
    const auto end = begun + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(arguments_.duration));
    for (auto next = begun + interval(); next < end; next += interval()) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next - Clock::now());
      if (left > 0ms) co_await overlay::pause(left);
      SimulatedHost& host = *hosts_[random() % hosts_.size()];
      auto one = [this, &host, &moves, number = random()]() -> asio::awaitable<void> {
        ++under_way_;
        const bool moved = co_await host.move_one(number, moves);
        --under_way_;
        if (!moved) ++refused_;
      };
      overlay::spawn(io_.get_executor(), one);
    }
    while (under_way_ > 0) co_await overlay::pause(10ms);
  }

  void report() {
    std::ofstream file(arguments_.report);
    write_events(file, 'm', moves_);
    write_events(file, 't', told_moves_);
    write_events(file, 'k', known_);
    std::size_t missed = 0;
    std::uint64_t applied = 0, updated = 0;
    Clock::duration busy{};
    for (auto& host : hosts_) {
      auto& datapath = static_cast<MemoryDatapath&>(host->datapath());
      applied += datapath.applied();
      updated += datapath.updated();
      busy += host->busy();
      missed += host->missed();
    }
    file << fmt::format("s {} {} {} {} {:.3f} {}\n", refused_, missed, applied, updated,
                        seconds(busy), post_.unsent());
  }

  asio::io_context& io_;
  FleetArguments arguments_;
  asio::posix::stream_descriptor input_;
  asio::streambuf lines_;
  Post post_;
  std::vector<Event> known_, moves_, told_moves_;
  std::vector<std::unique_ptr<SimulatedHost>> hosts_;
  std::map<std::string, SimulatedHost*> by_name_;
  std::size_t under_way_ = 0, refused_ = 0;
};

struct OneArguments {
  std::string remotes, host, pins;
};

/// Median of five, in milliseconds.
template <class Action>
double milliseconds_of(Action action) {
  std::vector<double> runs;
  for (int i = 0; i < 5; ++i) {
    const auto begun = Clock::now();
    action();
    runs.push_back(seconds(Clock::now() - begun) * 1000);
  }
  std::ranges::sort(runs);
  return runs[2];
}

/// One host over the kernel's own datapath: how long until it carries everything, what that takes
/// of memory, and what a look at all of it costs.
asio::awaitable<void> run_one(asio::io_context& io, const OneArguments& arguments) {
  overlay::EbpfOptions options;
  options.pin_directory = arguments.pins;
  auto datapath = overlay::make_ebpf_datapath(options).value();
  const std::uint64_t before = resident();
  const auto begun = Clock::now();
  SimulatedHost host(io.get_executor(), arguments.remotes, arguments.host, std::move(datapath));
  host.start();
  while (!host.ready()) co_await overlay::pause(5ms);
  const double took = seconds(Clock::now() - begun);
  const double processor = processor_time();
  const std::uint64_t peak = resident();
  ::malloc_trim(0);  // as the agent does every 3 s
  const std::uint64_t after = resident();
  const std::size_t in_use = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
  const double whole = milliseconds_of([&] { host.network().reconcile(); });
  const double repair = milliseconds_of([&] { host.network().repair(); });
  ::malloc_trim(0);
  const std::uint64_t final = resident();
  const auto read = host.datapath().read_back().value();
  say("one {:.3f} {:.3f} {} {} {} {} {} {} {:.2f} {:.2f}\n", took, processor, before, peak, after,
      final, in_use, read.addresses.size(), whole, repair);
  io.stop();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Simulated hosts for the scale bench.");
  app.require_subcommand(1);
  FleetArguments fleet;
  auto* many = app.add_subcommand("fleet", "many hosts over datapaths in memory");
  many->add_option("--remotes", fleet.remotes)->required();
  many->add_option("--report", fleet.report)->required();
  many->add_option("--first", fleet.first)->required();
  many->add_option("--step", fleet.step)->required();
  many->add_option("--count", fleet.count)->required();
  many->add_option("--first-port", fleet.first_port)->required();
  many->add_option("--moves-per-second", fleet.moves_per_second)->required();
  many->add_option("--duration", fleet.duration)->required();
  OneArguments one;
  auto* single = app.add_subcommand("one", "one host over the kernel's datapath");
  single->add_option("--remotes", one.remotes)->required();
  single->add_option("--host", one.host)->required();
  single->add_option("--pins", one.pins)->required();
  CLI11_PARSE(app, argc, argv);

  ::mallopt(M_ARENA_MAX, 1);  // as the agent does
  overlay::log::set_up({.level = overlay::log::Level::error});
  asio::io_context io(1);
  std::optional<Fleet> hosts;
  if (*many) {
    hosts.emplace(io, fleet);
    overlay::spawn(io.get_executor(), hosts->run());
  } else {
    overlay::spawn(io.get_executor(), run_one(io, one));
  }
  io.run();
  return 0;
}
