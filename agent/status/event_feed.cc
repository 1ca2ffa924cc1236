#include "agent/status/event_feed.h"

#include "agent/status/json.h"
#include "agent/status/path_json.h"

#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <charconv>

namespace homeport::agent {

namespace json = boost::json;

namespace {

constexpr std::size_t kTask = 0;  ///< Its place in EventFeed::Thing.
constexpr std::size_t kPath = 1;

struct Words {
  std::string_view name;
  json::object data;
};

Words words_of(const TaskSnapshot& task, bool removed) {
  if (removed) return {"removed", {{"id", task.id}}};
  return {"task", to_json(task)};
}

Words words_of(const PathEvent& path, bool removed) {
  if (removed) {
    return {"path-removed", {{"peer", path.peer}, {"class", to_string(path.traffic)}}};
  }
  return {"path", to_json(path)};
}

}  // namespace

EventFeed::Key EventFeed::key_of(const TaskSnapshot& task) {
  return {kTask, task.id, {}};
}

EventFeed::Key EventFeed::key_of(const PathEvent& path) {
  return {kPath, path.peer, path.traffic};
}

EventFeed::Thing EventFeed::with_nothing_but(const Key& key) {
  const auto& [kind, name, traffic] = key;
  if (kind == kTask) {
    TaskSnapshot task;
    task.id = name;
    return task;
  }
  PathEvent path;
  path.peer = name;
  path.traffic = traffic;
  return path;
}

template <class T>
void EventFeed::take(const std::vector<T>& things, std::set<Key>& present) {
  for (const T& thing : things) {
    const Key key = key_of(thing);
    present.insert(key);
    const auto known = things_.find(key);
    if (known != things_.end()) {
      if (std::get<T>(events_.at(known->second).thing) == thing) continue;
      events_.erase(known->second);
    }
    events_[++revision_] = {thing, false};
    things_[key] = revision_;
  }
}

bool EventFeed::update(const StatusModel& model) {
  using std::chrono::milliseconds;
  if (instance_.empty()) {
    instance_ =
        fmt::to_string(std::chrono::floor<milliseconds>(model.started.time_since_epoch()).count());
  }
  const std::uint64_t before = revision_;
  std::set<Key> present;
  take(model.tasks, present);
  take(model.path_events, present);
  for (auto known = things_.begin(); known != things_.end();) {
    if (present.contains(known->first)) {
      ++known;
      continue;
    }
    events_.erase(known->second);
    events_[++revision_] = {with_nothing_but(known->first), true};
    removals_.push_back(revision_);
    known = things_.erase(known);
  }
  while (removals_.size() > kRemovalsKept) {
    forgotten_ = removals_.front();
    events_.erase(forgotten_);
    removals_.pop_front();
  }
  return revision_ != before;
}

EventFeed::Cursor EventFeed::resume(std::string_view last_event_id) const {
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

std::string EventFeed::next(Cursor& cursor, std::size_t limit) const {
  std::string result;
  if (cursor.fresh || missed_removals(cursor)) {
    cursor = {.fresh = false, .seen = 0, .complete = revision_};
    result = "event: reset\ndata: {}\n\n";
  }
  for (auto event = events_.upper_bound(cursor.seen); event != events_.end(); ++event) {
    // A thing that was gone before the reset is none of this reader's.
    if (!event->second.removed || event->first > cursor.complete) {
      const std::string more = text(event->first, event->second);
      if (!result.empty() && result.size() + more.size() > limit) break;
      result += more;
    }
    cursor.seen = event->first;
  }
  return result;
}

bool EventFeed::missed_removals(const Cursor& cursor) const {
  return std::max(cursor.seen, cursor.complete) < forgotten_;
}

std::string EventFeed::text(std::uint64_t revision, const Event& event) const {
  const Words words =
      std::visit([&](const auto& thing) { return words_of(thing, event.removed); }, event.thing);
  return fmt::format("id: {}-{}\nevent: {}\ndata: {}\n\n", instance_, revision, words.name,
                     json::serialize(words.data));
}

}  // namespace homeport::agent
