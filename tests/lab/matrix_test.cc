// The failure matrix: everything that can go wrong, at every step of a move. Afterwards the guest
// runs in exactly one place, the control database says where, its memory is whole, its clients'
// connection goes on, nothing is left behind, and the next move works.
//
// One of the few things here that no move survives is the end of the guest's own process while it
// is the only one; then nothing may be left of it, and it can be started again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <ostream>
#include <set>

#include "tests/lab/fault.h"
#include "tests/lab/guest_image.h"

namespace homeport::lab {
namespace {

const std::vector<std::string> kSteps = {"requested",   "prepared",  "copying",      "barrier",
                                         "redirected",  "stopped",   "device-state", "commit",
                                         "commit-sent", "committed", "resumed",      "settled"};

struct Cell {
  std::string step;
  Fault fault;
};

void PrintTo(const Cell& cell, std::ostream* out) {
  *out << cell.fault.name() << " at " << cell.step;
}

bool needs_cluster(const Cell& cell) {
  return cell.fault.victim == Victim::database_leader;
}

std::vector<Cell> all_cells() {
  std::vector<Cell> all;
  for (const std::string& step : kSteps) {
    for (const Fault& fault : all_faults()) all.push_back({step, fault});
  }
  // One fleet after the other.
  std::stable_partition(all.begin(), all.end(),
                        [](const Cell& cell) { return !needs_cluster(cell); });
  return all;
}

/// Those that run with every change: each step, each victim and each harm, and what went wrong
/// once.
bool is_core(const Cell& cell) {
  static const std::set<std::string> core = {"requested destination_agent_kill",
                                             "prepared database_link_blink",
                                             "copying source_agent_kill",
                                             "copying destination_agent_kill",
                                             "copying destination_guest_kill",
                                             "copying data_link_cut",
                                             "copying database_kill",
                                             "barrier source_agent_kill",
                                             "redirected database_kill",
                                             "redirected data_link_blink",
                                             "stopped source_agent_kill",
                                             "device-state source_guest_kill",
                                             "commit source_agent_kill",
                                             "commit-sent database_freeze",
                                             "commit-sent database_leader_kill",
                                             "committed destination_agent_kill",
                                             "resumed data_link_loss",
                                             "resumed data_link_one_way",
                                             "settled source_agent_kill",
                                             "settled source_guest_freeze"};
  return core.contains(cell.step + " " + cell.fault.name());
}

std::vector<Cell> cells(bool core) {
  std::vector<Cell> chosen;
  for (const Cell& cell : all_cells()) {
    if (is_core(cell) == core) chosen.push_back(cell);
  }
  return chosen;
}

std::string name_of(const testing::TestParamInfo<Cell>& info) {
  std::string name = info.param.step + "_" + info.param.fault.name();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

/// Whether the fault may end the guest for good: once the commit is sent the destination may have
/// read it, and run the guest, before the source has.
bool fatal(const Cell& cell) {
  const auto at = std::find(kSteps.begin(), kSteps.end(), cell.step);
  const auto step = [&](const char* name) { return std::find(kSteps.begin(), kSteps.end(), name); };
  if (cell.fault.harm != Harm::kill) return false;
  return (cell.fault.victim == Victim::source_guest && at < step("commit")) ||
         (cell.fault.victim == Victim::destination_guest && at >= step("commit-sent"));
}

class Matrix : public testing::TestWithParam<Cell> {
 protected:
  static void SetUpTestSuite() {
    disk_ = std::filesystem::temp_directory_path() / own_name("matrix.img");
    write_pattern_disk(disk_, 16);
  }

  static void TearDownTestSuite() {
    fleet_.reset();
    std::filesystem::remove(disk_);
    print_table();
  }

  // A fleet that a failed cell has left in disorder is not used again.
  void SetUp() override {
    const unsigned servers = needs_cluster(GetParam()) ? 3 : 1;
    if (fleet_ && in_order_ && servers == servers_) return;
    fleet_.reset();
    servers_ = servers;
    FleetOptions options{
        .name = "matrix", .rate_mbit = 400, .database_servers = servers, .holdable = true};
    // With direct I/O under way a move makes barriers.
    options.guest.disk = disk_;
    options.guest.disk_bytes_per_second = 4 << 20;
    fleet_ = std::make_unique<Fleet>(options);
    occupy_guest();
  }

  static void occupy_guest() {
    fleet_->guest().write_memory(32, 4, 5);
    fleet_->guest().read_disk(4);
  }

  static void check_guest(const GuestStatus& before) {
    fleet_->guest().check_memory();
    fleet_->guest().check_disk();
    const GuestStatus now = fleet_->guest().status();
    EXPECT_EQ(now.boot_id, before.boot_id);
    EXPECT_GT(now.counter, before.counter);
    EXPECT_EQ(now.memory_mismatches, 0u);
    EXPECT_EQ(now.disk_mismatches, 0u) << now.disk_first_mismatch;
  }

  static bool guest_is_gone() {
    return fleet_->a().guest_pid("vm1") < 0 && fleet_->b().guest_pid("vm1") < 0;
  }

  static void print_table() {
    std::printf("\n%-26s", "");
    for (const auto& step : kSteps) std::printf(" %-12s", step.c_str());
    std::size_t tried = 0, held = 0;
    for (const auto& [fault, row] : table_) {
      std::printf("\n%-26s", fault.c_str());
      for (const auto& step : kSteps) {
        const auto cell = row.find(step);
        std::printf(" %-12s", cell == row.end() ? "-" : cell->second.c_str());
        tried += cell != row.end();
        held += cell != row.end() && cell->second != "FAILED";
      }
    }
    std::printf(
        "\n\n%zu cells tried, %zu held. moved, stayed: where the guest runs on; ended: its own "
        "process was the fault's victim.\n",
        tried, held);
  }

  static std::unique_ptr<Fleet> fleet_;
  static bool in_order_;
  static unsigned servers_;
  static std::filesystem::path disk_;
  static std::map<std::string, std::map<std::string, std::string>> table_;
};

std::unique_ptr<Fleet> Matrix::fleet_;
bool Matrix::in_order_ = false;
unsigned Matrix::servers_ = 0;
std::filesystem::path Matrix::disk_;
std::map<std::string, std::map<std::string, std::string>> Matrix::table_;

TEST_P(Matrix, Holds) {
  const Cell& cell = GetParam();
  std::string& entry = table_[cell.fault.name()][cell.step];
  entry = "FAILED";
  in_order_ = false;
  Host& source = fleet_->wait_somewhere();
  const HeldMove move{*fleet_, source, fleet_->other_than(source)};
  const GuestStatus before = fleet_->guest().status();
  auto stream = std::make_unique<StreamClient>(
      fleet_->lab().client(), fleet_->options().ipv4,
      fleet_->lab().directory() / (cell.step + "-" + cell.fault.name() + ".log"), 64);
  stream->wait_progress(16 * 1024, 20s);

  source.hold_at(cell.step);
  auto waiting = fleet_->start_move(move.destination);
  source.wait_held();
  inflict(cell.fault, move);
  repair(move);
  const std::string ended = end_of_move(move);
  waiting->kill();

  std::string outcome = "ended";
  if (fatal(cell) && guest_is_gone()) {
    stream.reset();
    wait_until([&] { return fleet_->lab().leftovers().empty(); }, 30s, "nothing to be left",
               [&] { return testing::PrintToString(fleet_->lab().leftovers()); });
    fleet_->lab().homeport_checked("app start vm1 --wait");
    fleet_->guest().wait_ready(60s);
    occupy_guest();
  } else {
    Host& owner = fleet_->wait_somewhere();
    fleet_->wait_settled(owner);
    check_guest(before);
    outcome = &owner == &source ? "stayed" : "moved";
    EXPECT_EQ(outcome == "moved", ended.ends_with("succeeded")) << ended;
  }

  const GuestStatus middle = fleet_->guest().status();
  Host& here = fleet_->wait_somewhere();
  Host& there = fleet_->other_than(here);
  const MoveOutcome later = fleet_->move(there);
  EXPECT_EQ(later.status, 0) << "a later move: " << later.err;
  fleet_->wait_settled(there);
  check_guest(middle);
  if (stream) {
    stream->wait_progress(16 * 1024, 30s);
    const StreamReport report = stream->finish();
    EXPECT_TRUE(report.survived) << report.error;
  }
  for (Host* host : fleet_->lab().hosts()) EXPECT_TRUE(host->agent_runs()) << host->name();
  in_order_ = !HasFailure();
  if (in_order_) entry = ended.starts_with("decided") ? outcome + "*" : outcome;
}

INSTANTIATE_TEST_SUITE_P(Core, Matrix, testing::ValuesIn(cells(true)), name_of);
INSTANTIATE_TEST_SUITE_P(Rest, Matrix, testing::ValuesIn(cells(false)), name_of);

}  // namespace
}  // namespace homeport::lab
