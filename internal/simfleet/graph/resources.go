package graph

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const timeForm = "2006-01-02T15:04:05Z"

// object is one entry of a list.
type object map[string]any

func (s *Server) listDevices(w http.ResponseWriter, r *http.Request, _ *grant) {
	var all []object
	for _, d := range s.config.Devices {
		all = append(all, object{
			"id": d.ObjectID, "deviceId": d.ID, "displayName": d.Name, "operatingSystem": "Windows", "operatingSystemVersion": d.Version,
			"accountEnabled": true, "trustType": d.Joined, "approximateLastSignInDateTime": d.LastSeen.UTC().Format(timeForm),
			"onPremisesSyncEnabled": d.Joined == "ServerAd",
		})
	}
	s.list(w, r, "devices", all, 999, "operatingSystem", "deviceId", "displayName")
}

func (s *Server) listManaged(w http.ResponseWriter, r *http.Request, _ *grant) {
	var all []object
	for _, d := range s.config.Devices {
		if d.IntuneID != "" {
			all = append(all, object{
				"id": d.IntuneID, "azureADDeviceId": d.ID, "deviceName": d.Name, "serialNumber": d.Serial, "isEncrypted": true,
				"operatingSystem": "Windows", "osVersion": d.Version, "lastSyncDateTime": d.LastSeen.UTC().Format(timeForm),
			})
		}
	}
	s.list(w, r, "deviceManagement/managedDevices", all, 1000, "azureADDeviceId", "deviceName", "serialNumber", "operatingSystem")
}

// listKeys never contains a key, whatever is selected, and knows no $top.
func (s *Server) listKeys(w http.ResponseWriter, r *http.Request, _ *grant) {
	if r.URL.Query().Has("$top") {
		fail(w, http.StatusBadRequest, "BadRequest", "The query specified in the URI is not valid. Query option 'Top' is not allowed.")
		return
	}
	s.mu.Lock()
	var all []object
	for _, k := range s.config.Keys {
		all = append(all, k.object())
	}
	s.mu.Unlock()
	s.list(w, r, "informationProtection/bitlocker/recoveryKeys", all, 0, "deviceId")
}

func (k Key) object() object {
	return object{"id": k.ID, "createdDateTime": k.Created.UTC().Format(timeForm), "volumeType": k.Volume, "deviceId": k.DeviceID}
}

// getKey hands a key out where $select names it and the right is there, and records either outcome.
func (s *Server) getKey(w http.ResponseWriter, r *http.Request, g *grant) {
	id := r.PathValue("id")
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.config.Keys, func(k Key) bool { return strings.EqualFold(k.ID, id) })
	if i < 0 {
		fail(w, http.StatusNotFound, "ResourceNotFound", "The requested recovery key was not found.")
		return
	}
	out := s.config.Keys[i].object()
	if slices.Contains(strings.Split(r.URL.Query().Get("$select"), ","), "key") {
		ok := g.may(ReadKeys)
		s.audit = append(s.audit, KeyRead{Time: time.Now().UTC(), Actor: g.actor, KeyID: s.config.Keys[i].ID, OK: ok})
		if !ok {
			fail(w, http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to read the key.")
			return
		}
		out["key"] = s.config.Keys[i].Password.Reveal()
	}
	reply(w, http.StatusOK, out)
}

func (s *Server) rotate(w http.ResponseWriter, r *http.Request, _ *grant) {
	id := r.PathValue("id")
	i := slices.IndexFunc(s.config.Devices, func(d Device) bool { return d.IntuneID != "" && strings.EqualFold(d.IntuneID, id) })
	if i < 0 {
		fail(w, http.StatusNotFound, "ResourceNotFound", "Device not found.")
		return
	}
	s.mu.Lock()
	s.rotated[s.config.Devices[i].ID]++
	s.mu.Unlock()
	if s.config.Rotated != nil {
		s.config.Rotated(s.config.Devices[i].ID)
	}
	w.WriteHeader(http.StatusNoContent)
}

// list answers one page. $filter knows "field eq 'value'" on the fields named, $skiptoken is a position.
func (s *Server) list(w http.ResponseWriter, r *http.Request, path string, all []object, maxTop int, fields ...string) {
	q := r.URL.Query()
	if filter := q.Get("$filter"); filter != "" {
		field, value, ok := strings.Cut(filter, " eq ")
		if !ok || !slices.Contains(fields, field) || len(value) < 2 || value[0] != '\'' || value[len(value)-1] != '\'' {
			fail(w, http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported query filter.")
			return
		}
		value = strings.ReplaceAll(value[1:len(value)-1], "''", "'")
		all = slices.DeleteFunc(all, func(o object) bool {
			have, _ := o[field].(string)
			return !strings.EqualFold(have, value)
		})
	}
	size := s.config.PageSize
	if top, err := strconv.Atoi(q.Get("$top")); err == nil && top > 0 && maxTop > 0 {
		size = min(top, maxTop, s.config.PageSize)
	}
	from := 0
	if token := q.Get("$skiptoken"); token != "" {
		n, err := strconv.Atoi(token)
		if err != nil || n < 0 || n > len(all) {
			fail(w, http.StatusBadRequest, "BadRequest", "Invalid skip token.")
			return
		}
		from = n
	}
	to := min(from+size, len(all))
	page := all[from:to]
	if page == nil {
		page = []object{}
	}
	body := object{"@odata.context": s.URL() + "/v1.0/$metadata#" + path, "value": page}
	if to < len(all) {
		next := url.Values{}
		for k, v := range q {
			next[k] = v
		}
		next.Set("$skiptoken", strconv.Itoa(to))
		body["@odata.nextLink"] = s.URL() + "/v1.0/" + path + "?" + next.Encode()
	}
	reply(w, http.StatusOK, body)
}

// fail answers as Graph does.
func fail(w http.ResponseWriter, status int, code, message string) {
	reply(w, status, object{"error": object{"code": code, "message": message, "innerError": object{"date": time.Now().UTC().Format("2006-01-02T15:04:05"), "request-id": w.Header().Get("request-id")}}})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone
}
