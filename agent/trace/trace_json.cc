#include "agent/trace/trace_json.h"

#include <boost/json/array.hpp>

namespace homeport::agent {

namespace {

namespace json = boost::json;

json::value or_null(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(text);
}

json::value or_null(std::uint16_t port) {
  return port == 0 ? json::value(nullptr) : json::value(port);
}

json::object to_json(const TracedPart& part) {
  json::array steps, copies, counters;
  for (const TracedStep& step : part.steps) {
    steps.push_back(
        json::object{{"step", step.step}, {"entry", or_null(step.entry)}, {"found", step.found}});
  }
  for (const TracedCopy& copy : part.copies) {
    copies.push_back(json::object{
        {"device", or_null(copy.device)},
        {"host", or_null(copy.host)},
        {"vtep", copy.vtep ? json::value(copy.vtep->to_string()) : json::value(nullptr)},
        {"marked", copy.marked}});
  }
  for (const std::string& counter : part.counters) counters.emplace_back(counter);
  return {{"steps", std::move(steps)},
          {"end", part.end},
          {"copies", std::move(copies)},
          {"counters", std::move(counters)}};
}

json::object to_json(const TracedHost& host) {
  json::object object{{"host", host.host}, {"sent_by", or_null(host.sent_by)}};
  const json::object found = to_json(host.found);
  object.insert(found.begin(), found.end());
  object["left"] = host.left ? json::value(to_json(*host.left)) : json::value(nullptr);
  object["left_out"] = host.left_out;
  object["problem"] = or_null(host.problem);
  object["counts"] = nullptr;
  if (host.counts) {
    json::object counts;
    for (const auto& [name, count] : *host.counts) counts[name] = count;
    object["counts"] = std::move(counts);
  }
  object["counting_problem"] = or_null(host.counting_problem);
  object["counts_anew"] = host.counts_anew;
  return object;
}

}  // namespace

json::object to_json(const TraceQuestion& question, const std::vector<TracedHost>& hosts) {
  json::array parts;
  for (const TracedHost& host : hosts) parts.emplace_back(to_json(host));
  return {{"to", question.to.to_string()},   {"protocol", protocol_name(question.protocol)},
          {"port", or_null(question.port)},  {"source_port", or_null(question.source_port)},
          {"length_bytes", question.length}, {"hosts", std::move(parts)}};
}

}  // namespace homeport::agent
