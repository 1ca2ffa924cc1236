#include "overlay/ovsdb/reader.h"

#include "overlay/ovsdb/shim.h"

#include <fmt/format.h>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/uuid/string_generator.hpp>
#include <boost/uuid/uuid_io.hpp>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

namespace homeport::overlay::ovsdb {

namespace json = boost::json;
namespace errc = boost::system::errc;
using std::chrono::milliseconds;

namespace {

json::array clause(const std::string& column, const char* function, json::value value) {
  return {column, function, std::move(value)};
}

/// Of the server's own database, _Server(5).
std::string check_params() {
  return json::serialize(json::array{
      "_Server", json::object{{"op", "select"},
                              {"table", "Database"},
                              {"where", json::array{clause("name", "==", hp_schema_database())}},
                              {"columns", json::array{"connected", "index"}}}});
}

std::string read_params(const ReadRequest& request) {
  json::array params{hp_schema_database()};
  for (const auto& known : request.known) {
    json::array where{clause("_uuid", "==", json::array{"uuid", to_string(known.uuid)}),
                      clause(known.column, ">=", known.least)};
    params.push_back(json::object{{"op", "wait"},
                                  {"timeout", 0},
                                  {"table", known.table},
                                  {"where", std::move(where)},
                                  {"columns", json::array{"_uuid"}},
                                  {"until", "!="},
                                  {"rows", json::array()}});
  }
  for (const auto& query : request.queries) {
    json::array where;
    for (const auto& it : query.where) {
      where.push_back(clause(it.column, it.function.c_str(), it.value));
    }
    params.push_back(
        json::object{{"op", "select"}, {"table", query.table}, {"where", std::move(where)}});
  }
  return json::serialize(params);
}

/// ["uuid", "..."]
std::optional<Uuid> uuid_of(const json::value* value) {
  const auto* array = value ? value->if_array() : nullptr;
  const auto* text = array && array->size() == 2 ? array->at(1).if_string() : nullptr;
  if (!text || text->size() != HP_UUID_LENGTH) return std::nullopt;
  try {
    return boost::uuids::string_generator()(text->c_str());
  } catch (const std::runtime_error&) {  // the only way to learn that it is none
    return std::nullopt;
  }
}

/// What it says of one operation; nullptr when it is an error, which `error` is then.
const json::array* rows_of(const json::value& result, std::string& error) {
  const auto* object = result.if_object();
  const auto* rows = object ? object->if_contains("rows") : nullptr;
  if (rows && rows->is_array()) return &rows->get_array();
  error = json::serialize(result);
  return nullptr;
}

}  // namespace

Reader::Reader(const SessionOptions& options, Answered answered)
    : remotes_(options.remotes),
      probe_interval_(options.probe_interval),
      idle_(options.reader_idle),
      answered_(std::move(answered)) {}

void Reader::read(Id id, ReadRequest request) {
  requests_.push_back({id, std::move(request)});
}

void Reader::close() {
  if (reader_) hp_reader_close(std::exchange(reader_, nullptr));
  connection_ = 0;
  step_ = Step::idle;
}

bool Reader::run() {
  if (requests_.empty()) {
    if (reader_ && Clock::now() - last_used_ >= idle_) close();
    if (!reader_) return false;
  }
  if (!reader_) {
    reader_ = hp_reader_open(remotes_.c_str(), static_cast<int>(probe_interval_.count()));
  }
  hp_reader_run(reader_);
  if (const unsigned connection = hp_reader_connection(reader_); connection != connection_) {
    connection_ = connection;
    step_ = Step::idle;  // what was under way is asked for again
  }
  bool failed = false;
  while (char* text = hp_reader_answer(reader_, &failed)) {
    const std::unique_ptr<char, decltype(&std::free)> answer(text, &std::free);
    take(answer.get(), failed);
  }
  if (connection_ != 0 && step_ == Step::idle && !requests_.empty()) {
    send(check_params(), Step::checking);
  }
  return false;
}

void Reader::wait() {
  if (!reader_) return;
  hp_reader_wait(reader_);
  if (!requests_.empty()) return;
  const auto left = std::chrono::ceil<milliseconds>(last_used_ + idle_ - Clock::now());
  hp_ovs_wake_in(static_cast<int>(std::max<milliseconds::rep>(left.count(), 0)));
}

void Reader::send(const std::string& params, Step next) {
  // When it is not sent the connection is gone, which the next turn finds.
  step_ = hp_reader_transact(reader_, params.c_str()) ? next : Step::idle;
}

void Reader::end(policy::Result<Answers> answers) {
  answered_(requests_.front().id, std::move(answers));
  requests_.pop_front();
  step_ = Step::idle;
  last_used_ = Clock::now();
}

void Reader::end_behind(const std::string& why) {
  hp_reader_turn_to_next(reader_);
  end(policy::make_error(errc::resource_unavailable_try_again,
                         fmt::format("a server of the control database at {} is behind what has "
                                     "been seen of it: {}",
                                     remotes_, why)));
}

void Reader::take(const std::string& answer, bool failed) {
  const Step step = std::exchange(step_, Step::idle);
  if (step == Step::idle) return;  // of an earlier connection
  boost::system::error_code unreadable;
  const json::value value = json::parse(answer, unreadable);
  const auto* results = value.if_array();
  if (failed || unreadable || !results || results->empty()) return end_behind(answer);

  std::string error;
  if (step == Step::checking) {
    const auto* rows = rows_of(results->front(), error);
    const auto* row = rows && rows->size() == 1 ? rows->front().if_object() : nullptr;
    if (!row) return end_behind("it does not serve the database");
    const auto* connected = row->if_contains("connected");
    if (!connected || *connected != json::value(true)) return end_behind("it is cut off");
    // A standalone server has none.
    const auto* index = row->if_contains("index");
    if (const auto* number = index ? index->if_int64() : nullptr) {
      if (*number < highest_index_) return end_behind("it lags behind the others");
      highest_index_ = *number;
    }
    return send(read_params(requests_.front().what), Step::reading);
  }

  const ReadRequest& request = requests_.front().what;
  for (std::size_t i = 0; i < results->size(); ++i) {
    const auto* object = results->at(i).if_object();
    if (!object || !object->contains("error")) continue;
    const std::string text = json::serialize(*object);
    if (i < request.known.size() && object->at("error") == json::value("timed out")) {
      return end_behind("it does not have all that was seen");
    }
    return end(policy::make_error(errc::invalid_argument,
                                  "the database server does not read that: " + text));
  }
  Answers answers;
  for (std::size_t i = 0; i < request.queries.size(); ++i) {
    const std::size_t place = request.known.size() + i;
    const auto* rows = place < results->size() ? rows_of(results->at(place), error) : nullptr;
    if (!rows) return end_behind("it answered less than was asked");
    auto& list = answers.emplace_back();
    for (const json::value& it : *rows) {
      const auto* columns = it.if_object();
      const auto uuid = uuid_of(columns ? columns->if_contains("_uuid") : nullptr);
      if (!uuid) return end_behind("it sent a row without its UUID");
      Row row{*uuid, *columns};
      row.columns.erase("_uuid");
      row.columns.erase("_version");
      list.push_back(std::move(row));
    }
  }
  end(std::move(answers));
}

}  // namespace homeport::overlay::ovsdb
