#include "agent/paths/bulk_limits.h"

#include "overlay/link/bulk_limit.h"
#include "overlay/log/log.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"

#include <algorithm>
#include <map>
#include <utility>
#include <variant>

namespace homeport::agent {

namespace asio = boost::asio;
namespace log = overlay::log;

struct BulkLimits::State {
  /// In bit/s. Every address of an interface has the same; an address that has come since has none
  /// yet.
  std::map<std::string, std::uint64_t> wanted() const {
    std::map<std::string, std::uint64_t> limits;
    for (const auto& [uuid, row] : database.contents().interfaces) {
      if (row.host != host || row.bulk_limit_mbps == 0) continue;
      const auto limit = static_cast<std::uint64_t>(row.bulk_limit_mbps) * 1'000'000;
      auto [known, is_new] = limits.emplace(row.name, limit);
      known->second = std::min(known->second, limit);
    }
    return limits;
  }

  void look() {
    std::map<std::string, std::uint64_t> limits = wanted();
    const bool first = !std::exchange(looked, true);
    if (!first && limits.empty() && left.empty()) return;
    left = limits;
    auto kept = overlay::keep_bulk_limits(limits);
    std::vector<std::string> wrong;
    if (kept) {
      for (const std::string& change : kept->changes) log::info("{}", change);
      wrong = std::move(kept->problems);
    } else {
      wrong = {kept.error().message + "."};
    }
    for (const std::string& problem : wrong) {
      if (std::ranges::count(problems, problem) == 0) log::warn("{}", problem);
    }
    problems = std::move(wrong);
  }

  static asio::awaitable<void> keep_looking(std::shared_ptr<State> self) {
    while (true) {
      co_await overlay::pause(self->interval);
      if (self->ended) co_return;
      if (self->looked) self->look();
    }
  }

  std::string host;
  const ControlDatabase& database;
  std::chrono::steady_clock::duration interval;
  bool looked = false;
  bool ended = false;                              ///< `database` is not to be used
  std::map<std::string, std::uint64_t> left = {};  ///< by the last look
  std::vector<std::string> problems = {};
};

BulkLimits::BulkLimits(asio::any_io_executor executor, std::string host,
                       const ControlDatabase& database,
                       std::chrono::steady_clock::duration interval)
    : state_(std::make_shared<State>(
          State{.host = std::move(host), .database = database, .interval = interval})) {
  overlay::spawn(executor, State::keep_looking(state_));
}

BulkLimits::~BulkLimits() {
  state_->ended = true;
}

void BulkLimits::follow() {
  const Changes& changes = state_->database.changes();
  if (!state_->looked || changes.all || changes.tables.contains(Interface::kTable)) state_->look();
}

void BulkLimits::on_link_event(const overlay::LinkEvent& event) {
  if (!state_->looked) return;
  const auto* changed = std::get_if<overlay::LinkChanged>(&event);
  const bool concerned = changed ? state_->left.contains(changed->link.name)
                                 : std::holds_alternative<overlay::EventsLost>(event);
  if (concerned) state_->look();
}

const std::vector<std::string>& BulkLimits::problems() const {
  return state_->problems;
}

}  // namespace homeport::agent
