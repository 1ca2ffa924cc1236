#include "agent/status/task_feed.h"

#include "agent/status/json.h"

#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <charconv>
#include <set>

namespace homeport::agent {

bool TaskFeed::update(const StatusModel& model) {
  using std::chrono::milliseconds;
  if (instance_.empty()) {
    instance_ =
        fmt::to_string(std::chrono::floor<milliseconds>(model.started.time_since_epoch()).count());
  }
  const std::uint64_t before = revision_;
  std::set<std::string_view> present;
  for (const TaskSnapshot& task : model.tasks) {
    present.insert(task.id);
    auto known = tasks_.find(task.id);
    if (known != tasks_.end()) {
      if (events_.at(known->second).task == task) continue;
      events_.erase(known->second);
    }
    events_[++revision_] = {task, false};
    tasks_[task.id] = revision_;
  }
  for (auto known = tasks_.begin(); known != tasks_.end();) {
    if (present.contains(known->first)) {
      ++known;
      continue;
    }
    events_.erase(known->second);
    Event removal{.task = {}, .removed = true};
    removal.task.id = known->first;
    events_[++revision_] = std::move(removal);
    removals_.push_back(revision_);
    known = tasks_.erase(known);
  }
  while (removals_.size() > kRemovalsKept) {
    forgotten_ = removals_.front();
    events_.erase(forgotten_);
    removals_.pop_front();
  }
  return revision_ != before;
}

TaskFeed::Cursor TaskFeed::resume(std::string_view last_event_id) const {
  const std::string_view id = last_event_id;
  if (instance_.empty() || !id.starts_with(instance_)) return {};
  const std::string_view rest = id.substr(instance_.size());
  if (!rest.starts_with('-')) return {};
  std::uint64_t seen = 0;
  auto [end, error] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), seen);
  if (error != std::errc() || end != rest.data() + rest.size() || seen > revision_) return {};
  const Cursor cursor{.fresh = false, .seen = seen, .complete = 0};
  return missed_removals(cursor) ? Cursor{} : cursor;
}

std::string TaskFeed::next(Cursor& cursor, std::size_t limit) const {
  std::string result;
  if (cursor.fresh || missed_removals(cursor)) {
    cursor = {.fresh = false, .seen = 0, .complete = revision_};
    result = "event: reset\ndata: {}\n\n";
  }
  for (auto event = events_.upper_bound(cursor.seen); event != events_.end(); ++event) {
    // A task that was gone before the reset is none of this reader's.
    if (!event->second.removed || event->first > cursor.complete) {
      const std::string more = text(event->first, event->second);
      if (!result.empty() && result.size() + more.size() > limit) break;
      result += more;
    }
    cursor.seen = event->first;
  }
  return result;
}

bool TaskFeed::missed_removals(const Cursor& cursor) const {
  return std::max(cursor.seen, cursor.complete) < forgotten_;
}

std::string TaskFeed::text(std::uint64_t revision, const Event& event) const {
  const boost::json::object data =
      event.removed ? boost::json::object{{"id", event.task.id}} : to_json(event.task);
  return fmt::format("id: {}-{}\nevent: {}\ndata: {}\n\n", instance_, revision,
                     event.removed ? "removed" : "task", boost::json::serialize(data));
}

}  // namespace homeport::agent
