package study

func (s *Summary) claims() []Claim { return nil }
