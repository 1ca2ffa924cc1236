// One or more rounds of the memory bench; `bench` beside this file calls it and makes the table.
// Prints a JSON object per run. Each run has a fleet and a guest of its own, so that none profits
// or suffers from the one before.
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <string>

#include "tests/bench/memory/qemu_fleet.h"
#include "tests/lab/failure.h"
#include "tests/lab/fleet.h"

namespace homeport::lab {
namespace {

struct Workload {
  unsigned memory_mib = 512;
  unsigned region_mib = 256;  ///< half-compressible
  unsigned hot_mib = 24;      ///< of it, rewritten
  unsigned write_mib = 20;    ///< per second
  std::uint64_t rate_mbit = 400;
};

struct Run {
  double total_ms = 0;  ///< from the request until the operator is told that it is done
  double gap_ms = 0;    ///< longest silence a client saw
  std::uint64_t lost = 0, sent_bytes = 0;
};

/// Moves a guest that writes and answers. `move` returns when the move has ended and tells the
/// bytes sent.
template <typename Move>
Run measure(const GuestControl& guest, const Namespace& client, const std::string& address,
            const std::filesystem::path& directory, const Workload& load, Move move) {
  guest.write_memory(load.region_mib, load.hot_mib, load.write_mib);
  DatagramClient datagrams(client, address, directory / "datagrams.log");
  datagrams.wait_progress(2000, 30s);
  const GuestStatus before = guest.status();
  Run run;
  const auto start = Clock::now();
  run.sent_bytes = move();
  const auto end = Clock::now();
  // What the switch holds up may show after the move's end.
  datagrams.wait_progress(2000, 30s);
  const auto window = datagrams.finish().window(start, end + 1s);
  guest.check_memory();
  const GuestStatus after = guest.status();
  if (after.boot_id != before.boot_id || after.memory_mismatches != 0) {
    throw LabFailure("the guest did not survive in " + directory.string());
  }
  run.total_ms = std::chrono::duration<double, std::milli>(end - start).count();
  run.gap_ms = window.longest_gap_ms;
  run.lost = window.lost;
  return run;
}

GuestOptions guest_options(const Workload& load) {
  GuestOptions guest;
  guest.memory_mib = load.memory_mib;
  return guest;
}

Run measure_homeport(const Workload& load) {
  Fleet fleet({.name = "bench",
               .rate_mbit = load.rate_mbit,
               .host_memory_mib = load.memory_mib + 64,
               .guest = guest_options(load)});
  return measure(fleet.guest(), fleet.lab().client(), fleet.options().ipv4, fleet.lab().directory(),
                 load, [&] {
                   const MoveOutcome outcome = fleet.move(fleet.b());
                   if (outcome.status != 0) throw LabFailure("the move failed: " + outcome.err);
                   return outcome.task.bytes_sent;
                 });
}

Run measure_qemu(const Workload& load) {
  QemuFleet fleet(guest_options(load), load.rate_mbit);
  return measure(fleet.guest(), fleet.client(), guest_options(load).ipv4, fleet.directory(), load,
                 [&] {
                   fleet.migrate();
                   return fleet.bytes_sent();
                 });
}

void print(const std::string& who, const Run& run) {
  const boost::json::object line{{"who", who},
                                 {"total_ms", run.total_ms},
                                 {"gap_ms", run.gap_ms},
                                 {"lost", run.lost},
                                 {"sent_mib", static_cast<double>(run.sent_bytes) / (1 << 20)}};
  std::puts(boost::json::serialize(line).c_str());
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  CLI::App app("Moves a writing guest with Homeport and with QEMU's own migration, in turns.",
               "memory_bench");
  unsigned rounds = 3;
  Workload load;
  app.add_option("--rounds", rounds, "Runs of each")->check(CLI::Range(1, 100));
  app.add_option("--rate", load.rate_mbit, "Each host's link in Mbit/s");
  app.add_option("--write", load.write_mib, "MiB the guest writes per second");
  CLI11_PARSE(app, argc, argv);
  end_waits_on_signals();
  try {
    for (unsigned round = 0; round < rounds; ++round) {
      // Turning order: what else the machine does weighs on both alike.
      if (round % 2 == 0) print("homeport", measure_homeport(load));
      print("qemu", measure_qemu(load));
      if (round % 2 == 1) print("homeport", measure_homeport(load));
    }
  } catch (const LabFailure& failure) {
    std::fprintf(stderr, "memory_bench: %s\n", failure.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace homeport::lab

int main(int argc, char** argv) {
  return homeport::lab::run(argc, argv);
}
