#include "overlay/log/limiter.h"

#include <utility>

namespace homeport::overlay::log {

void Limiter::end_windows(Time now) {
  while (!in_order_.empty()) {
    auto window = windows_.find(in_order_.front());
    if (now < window->second.began + limit_.period) return;
    if (window->second.left_out.lines > 0) untold_.push_back(std::move(window->second.left_out));
    windows_.erase(window);
    in_order_.pop_front();
  }
}

bool Limiter::admit(const Line& line, Time now) {
  end_windows(now);
  Key key{line.place.file, line.place.line, std::string(line.about.task())};
  if (windows_.size() >= kMostTasks && !windows_.contains(key)) std::get<2>(key).clear();
  auto [window, fresh] = windows_.try_emplace(key, Window{now});
  if (fresh) in_order_.push_back(std::move(key));
  if (window->second.written < limit_.burst) {
    ++window->second.written;
    return true;
  }
  LeftOut& left_out = window->second.left_out;
  if (left_out.lines++ == 0) left_out.first = line;
  return false;
}

std::vector<Limiter::LeftOut> Limiter::over(Time now) {
  end_windows(now);
  return std::exchange(untold_, {});
}

}  // namespace homeport::overlay::log
